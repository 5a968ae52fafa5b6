// Package disk keeps what a host has on disk: the cache of images and, for
// each instance, its root disk, its config drive and its console log.
//
// Its input is images from the control plane, by a function that it is given,
// and the files of config drives; its output is files under the agent's state
// directory (agent.Layout). It is the agent's Disks.
//
// It must never let a half-made file carry its final name, never use an image
// whose SHA-256 it has not checked, never guess a disk's format, and never
// write to an image that is in the cache.
package disk
