// Package fence switches lost hosts off, so that what ran there can start
// elsewhere: by a program of the administrator's, or by the host's management
// controller over Redfish.
package fence
