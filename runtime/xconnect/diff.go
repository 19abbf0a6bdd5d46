package xconnect

// Change is what a new graph means for the links that are there.
type Change struct {
	Add     []Link // not there yet
	Restart []Link // there, and different now
	Remove  []Key  // no longer in the graph
	Doubled []Link // share their key with an earlier entry, which stands
}

// Diff compares the links that are there with those of a graph. Add, Restart and
// Doubled are in the graph's order, Remove in no particular one.
//
// A pid that is not known changes nothing about a link whose pid was known: the
// process may well be running, and if it is not, its pidfd tells.
func Diff(have map[Key]Link, graph []Link) Change {
	var c Change
	seen := make(map[Key]bool, len(graph))
	for _, l := range graph {
		k := l.Key()
		if seen[k] {
			c.Doubled = append(c.Doubled, l)
			continue
		}
		seen[k] = true
		old, ok := have[k]
		switch {
		case !ok:
			c.Add = append(c.Add, l)
		case keepPids(l, old) != old:
			c.Restart = append(c.Restart, keepPids(l, old))
		}
	}
	for k := range have {
		if !seen[k] {
			c.Remove = append(c.Remove, k)
		}
	}
	return c
}

// keepPids fills unknown pids of l with those of the same containers in old.
func keepPids(l, old Link) Link {
	if l.Consumer.PID == 0 {
		l.Consumer.PID = old.Consumer.PID
	}
	if l.Provider.PID == 0 && l.Provider.Name == old.Provider.Name {
		l.Provider.PID = old.Provider.PID
	}
	return l
}
