package drm

// DevicesPath is tested by itself, because a machine has one layout only.
var DevicesPath = devicesPath
