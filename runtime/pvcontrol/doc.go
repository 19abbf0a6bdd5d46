// Package pvcontrol is the program pvcontrol: Pantavisor's API by words. It is a
// work-alike of upstream's tools/pvcontrol, a shell script: the same commands,
// requests, outputs and exit codes. groups.go lists the commands, and their
// help and completion come from that list.
//
// Standard output is the body of the answer and a newline. Exit codes:
//
//	0    the server did it (a status of 2xx)
//	255  it answered something else; the body is on standard error
//	75   it answered 503: try again later
//	48   not enough disk space
//	60   the object has not the checksum that its name says
//	70   the state was not verified
//	1    there was no answer, or the command line makes no sense
//
// testdata/pvcontrol.json has what the script does in some hundred cases, where
// ours differs, and why.
package pvcontrol
