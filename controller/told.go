package controller

import (
	"encoding/json"
	"hash/maphash"

	"github.com/cairn-cloud/cairn/api"
)

// told is what a stream has sent: of each item a digest, because a thousand
// hosts are each told of every port in their networks. Two versions of an item that
// share a digest, one chance in 2⁶⁴, would be taken for one.
type told struct {
	items map[item]uint64              // hosts, networks and instances
	ports map[string]map[string]uint64 // by network
}

var tellSeed = maphash.MakeSeed()

func newTold() *told { return &told{items: map[item]uint64{}, ports: map[string]map[string]uint64{}} }

func digestOf(d *api.DesiredItem) uint64 {
	b, err := json.Marshal(d)
	if err != nil {
		panic("controller: a desired state that does not marshal: " + err.Error())
	}
	return maphash.Bytes(tellSeed, b)
}

// tell notes what the host is to have under a name, nil for nothing, and tells
// whether that is news.
func (t *told) tell(at item, want *api.DesiredItem) bool {
	if at.kind == api.KindPort {
		return t.tellPort(at.id, want)
	}
	was, had := t.items[at]
	if want == nil {
		delete(t.items, at)
		return had
	}
	sum := digestOf(want)
	t.items[at] = sum
	return !had || was != sum
}

func (t *told) tellPort(id string, want *api.DesiredItem) bool {
	if want == nil {
		for _, ports := range t.ports { // the port is gone, and its network with it perhaps
			if _, had := ports[id]; had {
				delete(ports, id)
				return true
			}
		}
		return false
	}
	ports := t.ports[want.Port.Network]
	if ports == nil {
		ports = map[string]uint64{}
		t.ports[want.Port.Network] = ports
	}
	was, had := ports[id]
	sum := digestOf(want)
	ports[id] = sum
	return !had || was != sum
}

// all names everything that was told.
func (t *told) all(dirty map[item]bool) {
	for at := range t.items {
		dirty[at] = true
	}
	for n := range t.ports {
		t.inNetwork(n, dirty)
	}
}

// inNetwork names the ports of a network that were told.
func (t *told) inNetwork(network string, dirty map[item]bool) {
	for id := range t.ports[network] {
		dirty[item{api.KindPort, id}] = true
	}
}

// forget drops what is left of a network that the host is not in any more.
func (t *told) forget(network string) {
	if len(t.ports[network]) == 0 {
		delete(t.ports, network)
	}
}
