package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/netip"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/network"
)

// domainSpec is the domain that an instance is to have. mark is what is to be
// on it; its digest is filled in.
func domainSpec(l Layout, want api.HostDesired, i api.HostInstance, made network.Desired, mark Mark) DomainSpec {
	s := DomainSpec{
		Title: i.Project + "/" + i.Name, VCPUs: i.Size.VCPUs, MemoryMiB: i.Size.MemoryMiB, Architecture: i.Architecture, CPU: i.CPU,
		Root: l.Root(i.ID, i.Image), ConfigDrive: l.ConfigDrive(i.ID), ConsoleLog: l.ConsoleLog(i.ID),
	}
	mtu := map[string]int{}
	for _, n := range made.Networks {
		mtu[n.ID] = n.MTU
	}
	for _, id := range i.Ports {
		p := want.Ports[id]
		s.NICs = append(s.NICs, DomainNIC{Tap: network.Tap(id), MAC: p.MAC, MTU: mtu[p.Network]})
	}
	mark.Instance, mark.Project, mark.Epoch, mark.Generation, mark.Digest = i.ID, i.Project, i.Epoch, i.Generation, digest(s)
	s.Mark = mark
	return s
}

// configDigest is the digest of what an instance's config drive says: its own
// identity, the addresses of its ports, and their networks with all subnets, to
// which it gives routes.
func configDigest(want api.HostDesired, i api.HostInstance) string {
	type nic struct {
		Port    api.HostPort
		Network api.HostNetwork
	}
	var nics []nic
	for _, id := range i.Ports {
		p := want.Ports[id]
		// Where the port is says nothing to its guest.
		p.Local, p.Incoming, p.Underlay, p.Also, p.Generation = false, false, netip.Addr{}, netip.Addr{}, 0
		nics = append(nics, nic{p, want.Networks[p.Network]})
	}
	return digest([]any{i.ID, i.Name, i.Project, i.SSHKeys, i.UserData, nics})
}

// guestsDigest is the digest of what the guests' services look at.
func guestsDigest(want api.HostDesired) string {
	want.Revision, want.Host = 0, api.HostSpec{}
	return digest(want)
}

// digest hashes a value by its JSON, in which maps are sorted.
func digest(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic("agent: a value that does not marshal: " + err.Error())
	}
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:16])
}
