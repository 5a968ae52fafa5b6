package controller

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/controller/store"
)

var floatingIPKind = Kind{
	Name: api.KindFloatingIP, Admit: admitFloatingIP, Preview: previewFloatingIP, Reconcile: reconcileFloatingIP,
	Watches: map[string]func(api.View, api.Object) []string{api.KindPort: floatingIPsOf},
}

func admitFloatingIP(a *admission, old, o api.Object) error {
	f := o.(*api.FloatingIP)
	if old == nil {
		if err := a.giveFloating(f); err != nil {
			return err
		}
		return a.lead(f, api.FloatingIPSpec{})
	}
	was := old.(*api.FloatingIP).Spec
	a.sameByName(api.KindExternalNetwork, f.Project, was.ExternalNetwork, &f.Spec.ExternalNetwork)
	if err := a.lead(f, was); err != nil {
		return err
	}
	return immutable(old, o, "make another floating IP", "description", "port", "port_address")
}

// lead completes where a floating IP leads: its port becomes an ID, and gets an
// address where none is given.
func (a *admission) lead(f *api.FloatingIP, was api.FloatingIPSpec) error {
	field := "spec.port"
	if f.Spec.Instance != "" {
		field = "spec.instance"
		if err := a.firstNIC(f, was.Port); err != nil {
			return err
		}
	}
	if f.Spec.Port == "" {
		f.Spec.PortAddress = netip.Addr{}
		return nil
	}
	if f.Spec.Port == was.Port && f.Spec.PortAddress == was.PortAddress {
		return nil
	}
	o, err := a.resolve(api.KindPort, f.Project, field, f.Spec.Port)
	if err != nil {
		return err
	}
	p := o.(*api.Port)
	if f.Spec.Port = p.ID; p.ID != was.Port && f.Spec.PortAddress == was.PortAddress {
		f.Spec.PortAddress = netip.Addr{} // it was the other port's
	}
	// A network's egress never changes, so that what is seen of it here holds.
	if n := get[*api.Network](a.view, api.KindNetwork, p.Spec.Network); n != nil && n.Spec.Egress == api.EgressNone {
		return api.NewProblem(422, "invalid_value", field, "choose a port of a network with the egress nat", "the network %s of port %s has the egress none", n.Name, p.Name)
	}
	has := ipv4Of(p)
	switch {
	case len(has) == 0:
		return api.NewProblem(422, "invalid_value", field, "choose another port", "port %s has no IPv4 address", p.Name)
	case !f.Spec.PortAddress.IsValid():
		f.Spec.PortAddress = has[0]
	case !slices.Contains(has, f.Spec.PortAddress):
		return api.NewProblem(422, "invalid_value", "spec.port_address", "leave it out for the port's first", "port %s has %v and not %s", p.Name, has, f.Spec.PortAddress)
	}
	for r := range a.view.Referrers(api.KindFloatingIP, api.KindPort, p.ID) {
		if other := r.(*api.FloatingIP); other.ID != f.ID && other.Spec.PortAddress == f.Spec.PortAddress {
			return api.NewProblem(409, "port_in_use", field, "detach that one first", "%s of port %s has the floating IP %s (%s) already", f.Spec.PortAddress, p.Name, other.Spec.Address, other.Name)
		}
	}
	return nil
}

// firstNIC puts the port of an instance's first NIC in the place of its name.
func (a *admission) firstNIC(f *api.FloatingIP, was string) error {
	if f.Spec.Port != "" && f.Spec.Port != was {
		return api.NewProblem(422, "invalid_value", "spec.instance", "give one of the two", "a port and an instance are given")
	}
	o, err := a.resolve(api.KindInstance, f.Project, "spec.instance", f.Spec.Instance)
	if err != nil {
		return err
	}
	i := o.(*api.Instance)
	if len(i.Spec.NICs) == 0 {
		return api.NewProblem(422, "invalid_value", "spec.instance", "choose another instance", "the instance %s has no NIC", i.Name)
	}
	f.Spec.Port, f.Spec.Instance = i.Spec.NICs[0].Port, ""
	return nil
}

// ipv4Of are the IPv4 addresses of a port.
func ipv4Of(p *api.Port) (out []netip.Addr) {
	for _, a := range p.Spec.Addresses {
		if a.Address.Is4() {
			out = append(out, a.Address)
		}
	}
	return out
}

// giveFloating completes where a new floating IP is of, and gives it an address.
func (a *admission) giveFloating(f *api.FloatingIP) error {
	n, err := a.externalNetwork(f.Project, f.Spec.ExternalNetwork)
	if err != nil {
		return err
	}
	f.Spec.ExternalNetwork = n.ID
	var pools []api.Pool
	for _, p := range n.ParsedPools() {
		if p.First.Is4() {
			pools = append(pools, p)
		}
	}
	if !f.Spec.Address.IsValid() {
		return a.findFloating(f, n, pools)
	}
	if poolOf(pools, f) < 0 {
		return api.NewProblem(422, "address_out_of_range", "spec.address", "leave it out for a free one", "%s is not in %s of the external network %s", f.Spec.Address, strings.Join(n.Spec.Pools, ", "), n.Name)
	}
	if h := a.hostAt()[f.Spec.Address]; h != "" {
		return api.NewProblem(409, "address_taken", "spec.address", "leave it out for a free one", "%s is the address of a host", f.Spec.Address)
	}
	if owner := a.view.Owner(api.FloatingKey(f.Spec.Address)); owner != "" {
		by := "another project"
		if o := get[*api.FloatingIP](a.view, api.KindFloatingIP, owner); o != nil && o.Project == f.Project || a.who.Cloud {
			by = a.describe(owner)
		}
		return api.NewProblem(409, "address_taken", "spec.address", "leave it out for a free one", "%s is held by %s", f.Spec.Address, by)
	}
	return nil
}

// externalNetwork finds the one that is named, or the only one.
func (a *admission) externalNetwork(project, ref string) (*api.ExternalNetwork, error) {
	if ref != "" {
		o, err := a.resolve(api.KindExternalNetwork, project, "spec.external_network", ref)
		if err != nil {
			return nil, err
		}
		return o.(*api.ExternalNetwork), nil
	}
	var all []*api.ExternalNetwork
	for o := range a.view.List(api.KindExternalNetwork, "", "") {
		if !o.GetMeta().Deleting() {
			all = append(all, o.(*api.ExternalNetwork))
		}
	}
	if len(all) != 1 {
		return nil, api.NewProblem(422, "invalid_value", "spec.external_network", "give the name or ID of one: list the external-networks to see what there is", "there are %d external networks", len(all))
	}
	return all[0], nil
}

func (a *admission) findFloating(f *api.FloatingIP, n *api.ExternalNetwork, pools []api.Pool) error {
	total, hosts := uint64(0), a.hostAt()
	try := func(at netip.Addr) bool {
		f.Spec.Address = at
		return hosts[at] == "" && a.free(api.FloatingKey(at))
	}
	for _, p := range pools {
		first := binary.BigEndian.Uint32(p.First.AsSlice())
		size := binary.BigEndian.Uint32(p.Last.AsSlice()) - first + 1
		total += uint64(size)
		for range probes {
			if try(nth(first, a.dice.Uint32N(size))) {
				return nil
			}
		}
		start := a.dice.Uint32N(size)
		for i := range size {
			if try(nth(first, (start+i)%size)) {
				return nil
			}
		}
	}
	return api.NewProblem(409, "pool_exhausted", "spec.external_network", "delete floating IPs that nobody needs, or ask a cloud administrator for more addresses",
		"all %d IPv4 addresses of the external network %s are taken", total, n.Name)
}

// hostAt are the hosts by their address, which must not become another's although
// a pool may have been given with them in it.
func (a *admission) hostAt() map[netip.Addr]string {
	out := map[netip.Addr]string{}
	for o := range a.view.List(api.KindHost, "", "") {
		if at, err := netip.ParseAddr(o.(*api.Host).Status.Address); err == nil {
			out[at] = o.GetMeta().ID
		}
	}
	return out
}

func previewFloatingIP(_ *admission, o api.Object, p *api.Preview) {
	p.Addresses = append(p.Addresses, o.(*api.FloatingIP).Spec.Address.String())
}

// floatingIPsOf are the floating IPs that lead to a port.
func floatingIPsOf(v api.View, o api.Object) (ids []string) {
	for r := range v.Referrers(api.KindFloatingIP, api.KindPort, o.GetMeta().ID) {
		ids = append(ids, r.GetMeta().ID)
	}
	return ids
}

// conditionAttached of a floating IP says whether its port is reached by it.
const conditionAttached = "Attached"

// reconcileFloatingIP tells in the status what the host of the port says.
func reconcileFloatingIP(v reconciling, id string) (c store.Change, again time.Duration, err error) {
	f := get[*api.FloatingIP](v, api.KindFloatingIP, id)
	if f == nil {
		return c, 0, nil
	}
	n := api.Clone(f)
	n.Status.State, n.Status.Host, n.Status.ObservedGeneration = api.StateDetached, "", f.Generation
	n.Status.Conditions = nil
	p := get[*api.Port](v, api.KindPort, f.Spec.Port)
	why := api.Condition{Type: conditionAttached, Since: v.now}
	switch {
	case p == nil:
	case p.Status.State == api.StateActive && slices.Contains(p.Status.FloatingIPs, f.Spec.Address):
		n.Status.State, n.Status.Host = api.StateAttached, p.Status.Host
	case p.Status.State == api.StateActive:
		n.Status.State = api.StatePending
		why.Reason, why.Message = "Waiting", "the host of port "+p.Name+" has not put it into place yet"
	case p.Spec.Instance == "":
		n.Status.State = api.StateDown
		why.Reason, why.Message = "NoInstance", "port "+p.Name+" is the NIC of no instance"
	default:
		n.Status.State = api.StateDown
		why.Reason, why.Message = "NotRunning", fmt.Sprintf("the instance at port %s does not run", p.Name)
	}
	if why.Reason != "" {
		if had := f.Status.Condition(conditionAttached); had != nil && had.Reason == why.Reason {
			why.Since = had.Since
		}
		n.Status.SetCondition(why)
	}
	if asJSON(n.Status) != asJSON(f.Status) {
		c.Status = append(c.Status, n)
	}
	return c, 0, nil
}

// freed adds to a change that floating IPs of a port that goes lead nowhere.
func freed(c store.Change, v api.View, port string, now time.Time) store.Change {
	for r := range v.Referrers(api.KindFloatingIP, api.KindPort, port) {
		f := api.Clone(r.(*api.FloatingIP))
		f.Spec.Port, f.Spec.PortAddress = "", netip.Addr{}
		f.Generation++
		f.UpdatedAt = now
		c.Update = append(c.Update, f)
		c.Events = append(c.Events, eventAbout(f, actorInstances, reasonDetached, fmt.Sprintf("%s leads nowhere: the port went with its instance", f.Spec.Address)))
	}
	return c
}
