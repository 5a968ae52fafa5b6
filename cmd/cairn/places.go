package main

// Where things are on a machine, unless flags say otherwise.
const (
	defaultData  = "/var/lib/cairn"       // of a controller: admin.token, ca.crt, images, etcd
	defaultState = "/var/lib/cairn-agent" // of a host: key, image cache, disks
	labData      = "/var/lib/cairn-lab"   // of the lab
)
