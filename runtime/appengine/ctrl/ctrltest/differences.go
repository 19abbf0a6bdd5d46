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
		{[]int{32, 33, 107, 108, 155, 157, 159, 160, 161, 163, 167}, Body, twice},
		{[]int{156, 158, 162, 163}, Status, role},
		{[]int{156, 158, 162}, Body, role},
		{[]int{63}, Status, unheard},
		{[]int{63}, Headers, unheard},
		{[]int{63}, Body, unheard},
		{[]int{63}, End, unheard},
		{[]int{67}, Headers, "the graph has an entity tag, on HTTP/1.1 only, for conditional requests"},
	}
}

// StopDifferences is for servers that do not let a request wait for another
// container to stop, as upstream does with all of them.
func StopDifferences() []Difference {
	const waits = "stopping a container does not hold up replies; upstream's came later than its reader waited"
	return []Difference{
		{[]int{181}, Status, waits},
		{[]int{181}, Headers, waits},
		{[]int{181}, End, waits},
	}
}
