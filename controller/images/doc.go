// Package images keeps the bytes of images: it takes them by upload or from a
// URL, looks at what they really are, and stores each content once under its
// SHA-256.
//
// Input is foreign bytes, which are never trusted: the format is found by
// inspection and not by name, and whatever would make a hypervisor open another file
// (a backing file, an external data file) is refused, with the reason. Output is
// files that never change once they have their name. It knows nothing of projects,
// quotas or who asks: its callers say how much may come.
package images
