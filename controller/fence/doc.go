// Package fence switches lost hosts off, so that what ran there can start
// elsewhere: by a program of the administrator's, or by the host's management
// controller over Redfish. It never says that a host is off because it was told to
// go off. Programs and credentials come from the controller's flags, and it writes nothing.
package fence
