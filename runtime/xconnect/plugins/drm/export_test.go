package drm

// GroupPath is tested by itself, because a machine has one layout only.
var GroupPath = groupPath
