// Package lifecycle decides when containers start and stop, and how a new
// revision is tried. It holds two state machines without goroutines, clocks or
// side effects: Machine for the containers of a system, and Update for the
// revision on its way. Both are told what happened and when, and answer with
// actions. The tables, each with its picture, are in table.go and
// updatetable.go; the tests look that no move is made which they do not have,
// and that every move they have is made.
//
// Whoever runs them has one goroutine that owns both, and
//
//   - begins with Update's Booted, reads the revision that it names, and then
//     sends Checked and Machine's Begin, or Unusable;
//   - carries out every action in order, and sends the events that answer it;
//   - sends a Tick when the time of Next has come;
//   - after every event of the Machine tells Update what it Observed, and hands
//     a Failure on as Broke;
//   - tells the Machine with Updating whenever Update.OnTrial changes;
//   - carries out Switch as Retire, which Retired follows, and Adopt;
//   - on Reboot sends Shutdown, waits for Down, and begins anew with the
//     revision that Boot.Choose picks.
//
// The statuses, groups, goals and timers are those of pantavisor (state.c,
// platforms.c, group.c, update/update.c), and so are the log lines that people
// look for, such as "platform 'x' status is now READY". What differs:
//
//   - A required service without a provider is found before anything starts,
//     and is a Failure that names the service, the container and what is close
//     to it. No container starts then, also not those that need nothing: the
//     revision is not what its author meant. A device restarts for ever.
//   - What a restart cannot mend (a service missing, a start refused) ends in
//     GiveUp if no other revision can take over, instead of a restart loop.
//   - A container that the user stops while it waits for a retry stays stopped,
//     and one that is stopped before it started does not start.
//   - A container whose retry has no delay starts at most once a second.
//   - A container is STOPPED when its processes are gone, not when the kill was
//     sent.
//   - The ready signal is taken when it overtakes the news of the start, and is
//     refused while the container is being stopped.
//   - A boot file is written before the progress that depends on it, so that a
//     runtime that is killed in between finds its way; every start of a trial
//     that was cut short counts as a retry.
//   - LOCAL_RUN_COMMIT of a revision that cannot be used does not restart.
//
// The policy on-failure starts a container again after any end, with whatever
// status, and unless-stopped is no recovery at all: both as on a device.
package lifecycle
