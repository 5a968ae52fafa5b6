package controller

import (
	"net/netip"
	"slices"

	"github.com/cairn-cloud/cairn/api"
)

// item names one thing in a host's desired state.
type item struct{ kind, id string }

// surroundings are what a host has to know besides its instances: the networks
// and the security groups of their ports.
type surroundings struct{ nets, groups map[string]bool }

// surroundingsOf costs what is on the host, whatever is in the cloud.
func surroundingsOf(v api.View, host string) surroundings {
	s := surroundings{nets: map[string]bool{}, groups: map[string]bool{}}
	for o := range v.Referrers(api.KindInstance, api.KindHost, host) {
		for r := range v.Referrers(api.KindPort, api.KindInstance, o.GetMeta().ID) {
			p, ok := r.(*api.Port)
			if !ok {
				continue
			}
			s.nets[p.Spec.Network] = true
			for _, g := range p.Spec.SecurityGroups {
				s.groups[g] = true
			}
		}
	}
	return s
}

// everything names all that can be in the desired state of a host.
func everything(v api.View, host string, around surroundings) []item {
	all := []item{{api.KindHost, host}}
	for o := range v.Referrers(api.KindInstance, api.KindHost, host) {
		all = append(all, item{api.KindInstance, o.GetMeta().ID})
		for _, f := range floatingIPsAt(v, o.GetMeta().ID) {
			all = append(all, item{api.KindFloatingIP, f.ID})
		}
	}
	for n := range around.nets {
		all = append(all, networkItems(v, n)...)
	}
	for g := range around.groups {
		all = append(all, item{api.KindSecurityGroup, g})
	}
	return all
}

// networkItems names a network and all ports in its map.
func networkItems(v api.View, network string) []item {
	all := []item{{api.KindNetwork, network}}
	for o := range v.Referrers(api.KindPort, api.KindNetwork, network) {
		all = append(all, item{api.KindPort, o.GetMeta().ID})
	}
	return all
}

// desiredItem is what the host is to have under that name, or nil.
func desiredItem(v api.View, host string, around surroundings, at item) *api.DesiredItem {
	d := &api.DesiredItem{Op: "set", Kind: at.kind, ID: at.id}
	switch at.kind {
	case api.KindHost:
		h := get[*api.Host](v, api.KindHost, host)
		if h == nil || at.id != host {
			return nil
		}
		spec := h.Spec
		d.Host = &spec
	case api.KindInstance:
		d.Instance = hostInstance(v, host, at.id)
	case api.KindNetwork:
		if around.nets[at.id] {
			d.Network = hostNetwork(v, at.id)
		}
	case api.KindPort:
		d.Port = hostPort(v, host, around.nets, at.id)
	case api.KindFloatingIP:
		d.Floating = hostFloating(v, host, at.id)
	case api.KindSecurityGroup:
		if around.groups[at.id] {
			d.Group = hostGroup(v, at.id)
		}
	}
	if d.Host == nil && d.Instance == nil && d.Network == nil && d.Port == nil && d.Floating == nil && d.Group == nil {
		return nil
	}
	return d
}

// hostInstance is sent once its image is ready; one that is being deleted is sent
// whatever its image is, so that its host can say that nothing is left of it.
func hostInstance(v api.View, host, id string) *api.HostInstance {
	i := get[*api.Instance](v, api.KindInstance, id)
	if i == nil {
		return nil
	}
	incoming := i.Placement.Target != nil && i.Placement.Target.Host == host
	if i.Placement.Host != host && !incoming {
		return nil
	}
	img := get[*api.Image](v, api.KindImage, i.Spec.Image)
	if !i.Deleting() && (img == nil || img.Status.State != api.StateReady && img.Status.SHA256 == "") {
		return nil
	}
	h := &api.HostInstance{
		ID: i.ID, Name: i.Name, Project: i.Project, Epoch: i.Placement.Epoch, Generation: i.Generation, Deleting: i.Deleting(),
		Power: i.Spec.Power, Reboots: i.Spec.Reboots, HardReboot: i.Spec.HardReboot,
		CPU:  i.Placement.CPU,
		Size: i.Spec.Size, Architecture: i.Spec.Architecture, UserData: i.Spec.UserData,
	}
	if g := i.Spec.StopGraceSeconds; g != nil {
		h.StopGraceSeconds = *g
	}
	if i.Placement.Held {
		h.Power = api.PowerOff
	}
	h.Exclusive = i.Spec.OnHostLoss == api.OnHostLossRestart || i.Spec.OnHostLoss == api.OnHostLossRecreate
	if incoming {
		h.Epoch, h.Incoming = i.Placement.Target.Epoch, &api.HostIncoming{From: i.Placement.Host}
	} else if sending(i) {
		h.Outgoing = outgoing(v, i)
	}
	if img != nil {
		h.Image = api.HostImage{ID: img.ID, SHA256: img.Status.SHA256, Format: img.Status.Format, SizeBytes: img.Status.SizeBytes, VirtualSizeBytes: img.Status.VirtualSizeBytes}
	}
	for _, n := range i.Spec.NICs {
		h.Ports = append(h.Ports, n.Port)
	}
	for _, key := range i.Spec.SSHKeys {
		if k := get[*api.SSHKey](v, api.KindSSHKey, key); k != nil {
			h.SSHKeys = append(h.SSHKeys, k.Spec.PublicKey)
		}
	}
	return h
}

// outgoing is what the host of an instance has to know of the one that it goes to.
func outgoing(v api.View, i *api.Instance) *api.HostOutgoing {
	t := i.Placement.Target
	o := &api.HostOutgoing{To: t.Host, Epoch: t.Epoch, Cold: t.Cold, Cancelled: t.Cancelled || i.Deleting() || i.Spec.Power == api.PowerOff && !t.Cold}
	from, to := get[*api.Host](v, api.KindHost, i.Placement.Host), get[*api.Host](v, api.KindHost, t.Host)
	if from != nil && to != nil {
		o.URL, o.Disks = to.Status.AgentURL, from.Status.Storage == "" || from.Status.Storage != to.Status.Storage
		o.Underlay, _ = netip.ParseAddr(to.Status.Address)
	}
	return o
}

func hostNetwork(v api.View, id string) *api.HostNetwork {
	n := get[*api.Network](v, api.KindNetwork, id)
	if n == nil {
		return nil
	}
	h := &api.HostNetwork{ID: id, VNI: n.Spec.VNI, MTU: n.Spec.MTU, Domain: n.Spec.Domain, Egress: n.Spec.Egress, Routes: n.Spec.Routes, Subnets: map[string]api.HostSubnet{}}
	for o := range v.Referrers(api.KindSubnet, api.KindNetwork, id) {
		if s, ok := o.(*api.Subnet); ok {
			h.Subnets[s.ID] = api.HostSubnet{CIDR: s.Spec.CIDR, Gateway: s.Spec.Gateway, DNSServers: s.Spec.DNSServers}
		}
	}
	return h
}

// hostPort is an entry in the map of a network that the host is in: a port whose
// instance is placed, here or elsewhere.
func hostPort(v api.View, host string, nets map[string]bool, id string) *api.HostPort {
	p := get[*api.Port](v, api.KindPort, id)
	if p == nil || !nets[p.Spec.Network] || p.Spec.Instance == "" {
		return nil
	}
	i := get[*api.Instance](v, api.KindInstance, p.Spec.Instance)
	if i == nil || i.Placement.Host == "" {
		return nil
	}
	h := &api.HostPort{ID: id, Network: p.Spec.Network, Instance: i.ID, Hostname: i.Name, MAC: p.Spec.MAC, Addresses: p.Spec.Addresses, Groups: p.Spec.SecurityGroups, Local: i.Placement.Host == host}
	if h.Local {
		h.Generation = p.Generation
	}
	if at := get[*api.Host](v, api.KindHost, i.Placement.Host); at != nil {
		h.Underlay, _ = netip.ParseAddr(at.Status.Address)
	}
	if t := i.Placement.Target; t != nil && !i.Deleting() {
		h.Incoming = t.Host == host
		if at := get[*api.Host](v, api.KindHost, t.Host); at != nil {
			h.Also, _ = netip.ParseAddr(at.Status.Address)
		}
	}
	if h.Local || h.Incoming {
		h.Bandwidth = p.Spec.Bandwidth
	}
	return h
}

func hostGroup(v api.View, id string) *api.HostGroup {
	g := get[*api.SecurityGroup](v, api.KindSecurityGroup, id)
	if g == nil {
		return nil
	}
	h := &api.HostGroup{ID: id, Rules: slices.Clone(g.Spec.Rules)}
	for i := range h.Rules {
		h.Rules[i].Description = "" // for people
	}
	return h
}

// floatingIPsAt are the floating IPs that lead to an instance's ports.
func floatingIPsAt(v api.View, instance string) (out []*api.FloatingIP) {
	for p := range v.Referrers(api.KindPort, api.KindInstance, instance) {
		for o := range v.Referrers(api.KindFloatingIP, api.KindPort, p.GetMeta().ID) {
			out = append(out, o.(*api.FloatingIP))
		}
	}
	return out
}

// floatingHosts are the hosts that a floating IP is of concern to: where the
// instance is, and where it is going.
func floatingHosts(v api.View, f *api.FloatingIP) (host, target string) {
	p := get[*api.Port](v, api.KindPort, f.Spec.Port)
	if p == nil {
		return "", ""
	}
	i := get[*api.Instance](v, api.KindInstance, p.Spec.Instance)
	if i == nil {
		return "", ""
	}
	if t := i.Placement.Target; t != nil {
		target = t.Host
	}
	return i.Placement.Host, target
}

// hostFloating is sent to both hosts of a move: each puts it into place, and lets
// go of it, as the port comes and leaves.
func hostFloating(v api.View, host, id string) *api.HostFloating {
	f := get[*api.FloatingIP](v, api.KindFloatingIP, id)
	if f == nil {
		return nil
	}
	if at, to := floatingHosts(v, f); at != host && to != host {
		return nil
	}
	return &api.HostFloating{ID: f.ID, Address: f.Spec.Address, Port: f.Spec.Port, Inside: f.Spec.PortAddress}
}
