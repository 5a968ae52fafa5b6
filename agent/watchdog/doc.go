// Package watchdog drives the kernel's watchdog devices, which reset the machine
// when nobody pets them. It decides nothing: the agent says when to arm and when to
// pet. What it is given is the path of a device.
package watchdog
