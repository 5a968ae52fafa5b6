package agent

// The conditions of an instance that its agent judges.
const (
	ImageReady   = "ImageReady"
	DiskReady    = "DiskReady"
	NetworkReady = "NetworkReady"
	Running      = "Running"
)
