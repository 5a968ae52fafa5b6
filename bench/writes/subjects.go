package main

import (
	"fmt"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/bench"
)

// verbs are the changes, in the order in which a round makes them: what the
// first has made the last removes.
var verbs = [...]string{"create", "patch", "delete"}

const create = 0

// subject is a kind of object that is changed.
type subject struct {
	kind api.Kind
	make func(name string) api.Object
	// settled tells whether the controller has nothing left to do after a create.
	settled func(api.Object) bool
}

// subjects are ports, of which a change is one transaction, and instances, which
// come with a port and about which the scheduler decides afterwards. There is no host,
// so its decision is that there is none.
func subjects() []subject {
	port, _ := api.KindByName(api.KindPort)
	instance, _ := api.KindByName(api.KindInstance)
	return []subject{
		{port, func(name string) api.Object {
			p := &api.Port{}
			p.Name, p.Spec.Network = name, bench.NetworkName
			return p
		}, func(api.Object) bool { return true }},
		{instance, func(name string) api.Object {
			i := &api.Instance{}
			i.Name, i.Spec.Type, i.Spec.Image, i.Spec.NICs = name, "t1-nano", bench.ImageName, []api.NIC{{Network: bench.NetworkName}}
			return i
		}, func(o api.Object) bool { return o.StatusPtr().GetStatus().Condition("Scheduled") != nil }},
	}
}

func projectName(writer int) string   { return fmt.Sprintf("p-%03d", writer) }
func objectName(writer, n int) string { return fmt.Sprintf("x-%03d-%04d", writer, n) }
