package controller

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/scheduler"
)

var instanceKind = Kind{
	Name:      api.KindInstance,
	Admit:     admitInstance,
	Preview:   previewInstance,
	Remove:    removeInstance,
	Watches:   map[string]func(api.View, api.Object) []string{api.KindImage: unplacedOfImage, api.KindHost: unsettledOfHost},
	Reconcile: reconcileInstance,
}

func admitInstance(a *admission, old, o api.Object) error {
	i := o.(*api.Instance)
	if old != nil {
		return admitInstanceChange(a, old.(*api.Instance), i)
	}
	if err := a.sizeInstance(i); err != nil {
		return err
	}
	for n, key := range i.Spec.SSHKeys {
		k, err := a.resolve(api.KindSSHKey, i.Project, fmt.Sprintf("spec.ssh_keys[%d]", n), key)
		if err != nil {
			return err
		}
		if slices.Contains(i.Spec.SSHKeys[:n], k.GetMeta().ID) {
			return api.NewProblem(422, "invalid_value", fmt.Sprintf("spec.ssh_keys[%d]", n), "name each key once", "the SSH key %s is named twice", k.GetMeta().Name)
		}
		i.Spec.SSHKeys[n] = k.GetMeta().ID
	}
	for n := range i.Spec.NICs {
		if err := a.giveNIC(i, n); err != nil {
			return err
		}
	}
	return nil
}

// admitInstanceChange lets through what can change while an instance exists.
// User data reaches the guest's metadata service at once and its config drive at
// the next start; cloud-init reads it only on a guest's first boot.
func admitInstanceChange(a *admission, was, i *api.Instance) error {
	a.sameByName(api.KindInstanceType, i.Project, was.Spec.Type, &i.Spec.Type)
	a.sameByName(api.KindImage, i.Project, was.Spec.Image, &i.Spec.Image)
	for n := range min(len(i.Spec.SSHKeys), len(was.Spec.SSHKeys)) {
		a.sameByName(api.KindSSHKey, i.Project, was.Spec.SSHKeys[n], &i.Spec.SSHKeys[n])
	}
	if err := admitMove(a, was, i); err != nil {
		return err
	}
	return immutable(was, i, "make another instance", "power", "user_data", "stop_grace_seconds", "reboots", "hard_reboot", "on_host_loss")
}

// sizeInstance takes the size from the type and the architecture from the image,
// and refuses what cannot run anywhere.
func (a *admission) sizeInstance(i *api.Instance) error {
	o, err := a.resolve(api.KindInstanceType, i.Project, "spec.type", i.Spec.Type)
	if err != nil {
		return err
	}
	typ := o.(*api.InstanceType)
	if o, err = a.resolve(api.KindImage, i.Project, "spec.image", i.Spec.Image); err != nil {
		return err
	}
	img := o.(*api.Image)
	i.Spec.Type, i.Spec.Image, i.Spec.Size, i.Spec.Architecture = typ.ID, img.ID, typ.Spec.Size, img.Spec.Architecture
	if typ.Spec.Architecture != img.Spec.Architecture {
		return api.NewProblem(422, "architecture_mismatch", "spec.image", "choose an image and a type of one architecture", "the image %s is for %s, the type %s for %s", img.Name, img.Spec.Architecture, typ.Name, typ.Spec.Architecture)
	}
	if img.Status.State == api.StateFailed {
		return api.NewProblem(422, "image_failed", "spec.image", "choose another image, or upload this one again", "the image %s cannot be used: %s", img.Name, imageFault(img))
	}
	if img.Status.State == api.StateReady && !fitsDisk(i, img) {
		return api.NewProblem(422, "disk_too_small", "spec.type", "choose a type with a larger disk", "the type %s has a disk of %d GiB, and the image %s needs %d GiB", typ.Name, i.Spec.Size.DiskGiB, img.Name, gib(img.Status.VirtualSizeBytes))
	}
	if why := tooLarge(a.view, requestFor(i)); why != "" {
		return api.NewProblem(422, "larger_than_any_host", "spec.type", "choose a smaller type", "no host could take an instance of the type %s, even if it were empty: %s", typ.Name, why)
	}
	return nil
}

// gib rounds bytes up to GiB.
func gib(bytes int64) int64 { return (bytes + 1<<30 - 1) >> 30 }

func fitsDisk(i *api.Instance, img *api.Image) bool {
	return gib(img.Status.VirtualSizeBytes) <= i.Spec.Size.DiskGiB
}

func imageFault(img *api.Image) string {
	for _, c := range img.Status.Conditions {
		if !c.OK && c.Message != "" {
			return c.Message
		}
	}
	return "it failed"
}

// giveNIC attaches the port that the n-th NIC names, or makes one.
func (a *admission) giveNIC(i *api.Instance, n int) error {
	nic, at := &i.Spec.NICs[n], fmt.Sprintf("spec.nics[%d]", n)
	if nic.Port != "" {
		return a.attachPort(i, nic, at)
	}
	p := &api.Port{}
	p.ID, p.Project = a.newID(api.KindPort), i.Project
	p.Name = fmt.Sprintf("%s-nic%d-%s", i.Name[:min(len(i.Name), 40)], n, p.ID[len(p.ID)-8:])
	p.Spec = api.PortSpec{Network: nic.Network, Addresses: nic.Addresses, Instance: i.ID, Owned: true, SecurityGroups: nic.SecurityGroups, Bandwidth: nic.Bandwidth}
	if err := a.givePort(at, p); err != nil {
		return err
	}
	*nic = nicOf(p)
	a.create(p)
	return nil
}

func (a *admission) attachPort(i *api.Instance, nic *api.NIC, at string) error {
	o, err := a.resolve(api.KindPort, i.Project, at+".port", nic.Port)
	if err != nil {
		return err
	}
	old := o.(*api.Port)
	if old.Spec.Instance != "" || slices.ContainsFunc(a.change.Update, func(x api.Object) bool { return x.GetMeta().ID == old.ID }) {
		return api.NewProblem(409, "port_in_use", at+".port", "choose a port that no instance has", "port %s is a NIC of %s", old.Name, a.describe(cmp.Or(old.Spec.Instance, i.ID)))
	}
	if nic.SecurityGroups != nil {
		return api.NewProblem(422, "invalid_value", at+".security_groups", "set them on the port", "port %s has security groups of its own", old.Name)
	}
	if nic.Bandwidth != nil {
		return api.NewProblem(422, "invalid_value", at+".bandwidth", "set it on the port", "port %s has limits of its own", old.Name)
	}
	network := cmp.Or(nic.Network, old.Spec.Network)
	a.sameByName(api.KindNetwork, i.Project, old.Spec.Network, &network)
	if network != old.Spec.Network {
		return api.NewProblem(422, "invalid_value", at+".network", "leave it out", "port %s is in %s", old.Name, a.describe(old.Spec.Network))
	}
	for n, x := range nic.Addresses {
		has := slices.ContainsFunc(old.Spec.Addresses, func(y api.PortAddress) bool {
			a.sameByName(api.KindSubnet, i.Project, y.Subnet, &x.Subnet)
			return (!x.Address.IsValid() || x.Address == y.Address) && (x.Subnet == "" || x.Subnet == y.Subnet)
		})
		if !has {
			return api.NewProblem(422, "invalid_value", fmt.Sprintf("%s.addresses[%d]", at, n), "leave it out", "port %s has the addresses %s", old.Name, strings.Join(texts(old.Spec.Addresses), ", "))
		}
	}
	p := api.Clone(old)
	p.Spec.Instance = i.ID
	a.update(old, p)
	*nic = nicOf(p)
	return nil
}

// nicOf is a port as its instance names it.
func nicOf(p *api.Port) api.NIC {
	return api.NIC{Network: p.Spec.Network, Addresses: slices.Clone(p.Spec.Addresses), Port: p.ID}
}

func previewInstance(a *admission, o api.Object, p *api.Preview) {
	i := o.(*api.Instance)
	for _, n := range i.Spec.NICs {
		p.Addresses = append(p.Addresses, texts(n.Addresses)...)
	}
	if i.Placement.Host != "" {
		p.Host, p.Reason = i.Placement.HostName, "it is placed there"
		return
	}
	d := a.place(snapshot(a.view), []scheduler.Request{requestFor(i)}, seedOf(i.ID))[0]
	p.Host, p.Reason, p.Rejected = d.HostName, d.Reason, d.Rejected
}
