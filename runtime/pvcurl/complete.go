package pvcurl

import "strings"

// paths are those of pv-ctrl that stand for themselves, for completion.
const paths = "/buildinfo /commands /config /config2 /containers /daemons /device-meta /drivers /groups /objects " +
	"/signal /steps /steps/current /storage/gc /user-meta /wakelocks /xconnect-graph"

var bashScript = `# bash completion for pvcurl; load it with: source <(pvcurl completion bash)
_pvcurl() {
    local cur="${COMP_WORDS[COMP_CWORD]}"
    COMPREPLY=()
    case "${COMP_WORDS[COMP_CWORD - 1]}" in
    -X) COMPREPLY=($(compgen -W "GET PUT POST DELETE" -- "$cur")); return ;;
    -T | --upload-file | -o | --output | --unix-socket) compopt -o default 2>/dev/null; return ;;
    -H | --header | --data | --data-binary | -w | --write-out | --connect-timeout | --max-time) return ;;
    esac
    case "$cur" in
    -*) COMPREPLY=($(compgen -W "-X -H --header --data --data-binary -T --upload-file --unix-socket -o --output -i --include \
        -w --write-out -s --silent -v --verbose --connect-timeout --max-time --no-progress-meter -h --help" -- "$cur")) ;;
    *) COMPREPLY=($(compgen -W "` + paths + `" -- "$cur")) ;;
    esac
}
complete -F _pvcurl pvcurl
`

var zshScript = `#compdef pvcurl
# zsh completion for pvcurl; load it with: source <(pvcurl completion zsh)
_pvcurl() {
    _arguments \
        '-X[the method]:method:(GET PUT POST DELETE)' \
        '*'{-H,--header}'[a header]:line:' \
        {--data,--data-binary}'[the body]:text:' \
        {-T,--upload-file}'[the body from a file]:file:_files' \
        '--unix-socket[the socket of the server]:socket:_files' \
        {-o,--output}'[write the body to a file]:file:_files' \
        {-i,--include}'[print the headers too]' \
        {-w,--write-out}'[print this after the body]:format:' \
        {-s,--silent}'[no messages about errors]' \
        {-v,--verbose}'[tell what happens]' \
        '--connect-timeout[seconds until the connection must stand]:seconds:' \
        '--max-time[seconds until all must be done]:seconds:' \
        '--no-progress-meter[accepted]' \
        {-h,--help}'[the help]' \
        '1:path:(` + paths + `)'
}
compdef _pvcurl pvcurl
`

var fishScript = `# fish completion for pvcurl; load it with: pvcurl completion fish | source
complete -c pvcurl -f -a '` + paths + `'
complete -c pvcurl -s X -x -a 'GET PUT POST DELETE' -d 'the method'
complete -c pvcurl -s H -l header -x -d 'a header'
complete -c pvcurl -l data -x -d 'the body'
complete -c pvcurl -l data-binary -x -d 'the body'
complete -c pvcurl -s T -l upload-file -r -F -d 'the body from a file'
complete -c pvcurl -l unix-socket -r -F -d 'the socket of the server'
complete -c pvcurl -s o -l output -r -F -d 'write the body to a file'
complete -c pvcurl -s i -l include -d 'print the headers too'
complete -c pvcurl -s w -l write-out -x -d 'print this after the body'
complete -c pvcurl -s s -l silent -d 'no messages about errors'
complete -c pvcurl -s v -l verbose -d 'tell what happens'
complete -c pvcurl -l connect-timeout -x -d 'seconds until the connection must stand'
complete -c pvcurl -l max-time -x -d 'seconds until all must be done'
complete -c pvcurl -l no-progress-meter -d 'accepted'
complete -c pvcurl -s h -l help -d 'the help'
`

// completion is the script for "completion SHELL", which as a request would be
// one without a socket, and so none.
func completion(args []string) (script string, ok bool) {
	if len(args) != 2 || args[0] != "completion" || strings.HasPrefix(args[1], "-") {
		return "", false
	}
	script, ok = map[string]string{"bash": bashScript, "zsh": zshScript, "fish": fishScript}[args[1]]
	return script, ok
}
