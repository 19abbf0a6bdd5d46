package pvctrl

// ReadEvents is what a stream of events is read with.
var ReadEvents = readEvents
