package ctrltest

// ServerDifferences are those of the server in package ctrl, whatever answers
// behind it. A backend's own ones come on top.
func ServerDifferences() []Difference {
	const (
		twice   = "one request has one reply; upstream sends a second one on the same connection"
		role    = "a container without the role is refused for that, with 403; upstream looks at the method of another route of the same path last"
		unheard = "an empty body is answered as one without data; upstream never replies"
	)
	return []Difference{
		{Captures: []int{32, 33, 107, 108, 155, 157, 159, 160, 161, 163, 167}, Part: Body, Reason: twice},
		{Captures: []int{156, 158, 162, 163}, Part: Status, Reason: role},
		{Captures: []int{156, 158, 162}, Part: Body, Reason: role},
		{Captures: []int{63}, Part: Status, Reason: unheard},
		{Captures: []int{63}, Part: Headers, Reason: unheard},
		{Captures: []int{63}, Part: Body, Reason: unheard},
		{Captures: []int{63}, Part: End, Reason: unheard},
		{Captures: []int{67}, Part: Headers, Reason: "the graph has an entity tag, on HTTP/1.1 only, for conditional requests"},
	}
}

// StopDifferences is for servers that do not let a request wait for another
// container to stop, as upstream does with all of them. On a busy machine the
// reply may come late for another reason.
func StopDifferences() []Difference {
	const waits = "stopping a container does not hold up replies; upstream's came later than its reader waited"
	return []Difference{
		{Captures: []int{181}, Part: Status, Sometimes: true, Reason: waits},
		{Captures: []int{181}, Part: Headers, Sometimes: true, Reason: waits},
		{Captures: []int{181}, Part: End, Sometimes: true, Reason: waits},
	}
}
