package main

// Where things are on a machine, unless flags say otherwise.
const (
	defaultData = "/var/lib/cairn"     // of a controller: admin.token, ca.pem, images, etcd
	labData     = "/var/lib/cairn-lab" // of the lab
)
