package controller

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/controller/store"
	"github.com/cairn-cloud/cairn/controller/store/storetest"
)

// at asks for addresses, each in whichever subnet has it.
func at(addresses ...string) (as []api.PortAddress) {
	for _, a := range addresses {
		as = append(as, api.PortAddress{Address: netip.MustParseAddr(a)})
	}
	return as
}

// TestAdmission_refusesWithTheFieldAndTheCause is what bad input gets; nothing
// of it may leave anything behind.
func TestAdmission_refusesWithTheFieldAndTheCause(t *testing.T) {
	c := newCloud(t)
	c.subnet("sub", "10.0.0.0/29")
	c.host("h1", 2, 4096, 100)
	c.typ("huge", api.Size{VCPUs: 64, MemoryMiB: 1024, DiskGiB: 10})
	arm := &api.InstanceType{}
	arm.Name, arm.Spec = "arm", api.InstanceTypeSpec{Size: api.Size{VCPUs: 1, MemoryMiB: 128, DiskGiB: 1}, Architecture: "aarch64"}
	c.create(arm)
	c.readyImage("large-image", 5<<30)
	other := &api.Network{}
	other.Name = "other"
	c.create(other)
	taken := &api.Port{}
	taken.Name, taken.Spec = "taken", api.PortSpec{Network: "net", Addresses: at("10.0.0.3"), MAC: "02:00:00:00:00:09"}
	c.create(taken)
	before := c.view().Revision()

	nic := func(n api.NIC) *api.Instance {
		i := instance("i")
		i.Spec.NICs = []api.NIC{n}
		return i
	}
	with := func(change func(*api.InstanceSpec)) *api.Instance {
		i := instance("i")
		change(&i.Spec)
		return i
	}
	port := func(s api.PortSpec) *api.Port {
		p := &api.Port{}
		p.Name, p.Spec = "q", s
		return p
	}
	subnet := func(network, cidr string) *api.Subnet {
		s := &api.Subnet{}
		s.Name, s.Spec = "s", api.SubnetSpec{Network: network, CIDR: netip.MustParsePrefix(cidr)}
		return s
	}
	named := func(o api.Object, name string) api.Object {
		o.GetMeta().Name = name
		return o
	}
	past := time.Now().Add(-time.Hour)
	token := &api.Token{}
	token.Name, token.Spec = "t", api.TokenSpec{Role: api.RoleViewer, ExpiresAt: &past}
	ip := netip.MustParseAddr
	for _, x := range []struct {
		name   string
		o      api.Object
		status int
		code   string
		field  string
		says   string
	}{
		{"name taken", named(&api.Network{}, "net"), 409, "name_taken", "name", `"net" is held by network net`},
		{"subnet overlaps", subnet("net", "10.0.0.0/24"), 409, "subnet_overlap", "spec.cidr", "10.0.0.0/24 overlaps 10.0.0.0/29 of the subnet sub in the network net"},
		{"subnet in no network", subnet("nowhere", "10.1.0.0/24"), 422, "reference_not_found", "spec.network", `no network "nowhere"`},
		{"no such type", with(func(s *api.InstanceSpec) { s.Type = "x" }), 422, "reference_not_found", "spec.type", `no instance-type "x"`},
		{"no such image", with(func(s *api.InstanceSpec) { s.Image = "x" }), 422, "reference_not_found", "spec.image", ""},
		{"no such key", with(func(s *api.InstanceSpec) { s.SSHKeys = []string{"x"} }), 422, "reference_not_found", "spec.ssh_keys[0]", ""},
		{"no such network", nic(api.NIC{Network: "x"}), 422, "reference_not_found", "spec.nics[0].network", ""},
		{"no such port", nic(api.NIC{Port: "x"}), 422, "reference_not_found", "spec.nics[0].port", ""},
		{"larger than any host", with(func(s *api.InstanceSpec) { s.Type = "huge" }), 422, "larger_than_any_host", "spec.type", "it takes 64 vCPUs, 1024 MiB and 10 GiB; the nearest host, h1, has 8 vCPUs, 4096 MiB and 100 GiB"},
		{"another architecture", with(func(s *api.InstanceSpec) { s.Type = "arm" }), 422, "architecture_mismatch", "spec.image", ""},
		{"image larger than the disk", with(func(s *api.InstanceSpec) { s.Image = "large-image" }), 422, "disk_too_small", "spec.type", "a disk of 1 GiB, and the image large-image needs 5 GiB"},
		{"a network without subnets", nic(api.NIC{Network: "other"}), 422, "network_without_subnet", "spec.nics[0].network", ""},
		{"a subnet of another network", nic(api.NIC{Network: "other", Addresses: []api.PortAddress{{Subnet: "sub"}}}), 422, "invalid_value", "spec.nics[0].addresses[0].subnet", "subnet sub is in network net"},
		{"address taken", nic(api.NIC{Network: "net", Addresses: at("10.0.0.3")}), 409, "address_taken", "spec.nics[0].addresses[0].address", "held by port taken"},
		{"address out of range", nic(api.NIC{Network: "net", Addresses: at("10.0.1.3")}), 422, "address_out_of_range", "spec.nics[0].addresses[0].address", "10.0.0.0/29 (subnet sub)"},
		{"the gateway", port(api.PortSpec{Network: "net", Addresses: at("10.0.0.1")}), 422, "invalid_value", "spec.addresses[0].address", "the gateway"},
		{"the broadcast address", port(api.PortSpec{Network: "net", Addresses: at("10.0.0.7")}), 422, "invalid_value", "spec.addresses[0].address", "broadcast"},
		{"the network's address", port(api.PortSpec{Addresses: []api.PortAddress{{Subnet: "sub", Address: ip("10.0.0.0")}}}), 422, "invalid_value", "spec.addresses[0].address", "network's"},
		{"MAC taken", port(api.PortSpec{Network: "net", MAC: "02:00:00:00:00:09"}), 409, "mac_taken", "spec.mac", "02:00:00:00:00:09 is held by port taken"},
		{"the same address twice", with(func(s *api.InstanceSpec) {
			s.NICs = []api.NIC{{Network: "net", Addresses: at("10.0.0.4")}, {Network: "net", Addresses: at("10.0.0.4")}}
		}), 409, "address_taken", "spec.nics[1].addresses[0].address", ""},
		{"the same port twice", with(func(s *api.InstanceSpec) { s.NICs = []api.NIC{{Port: "taken"}, {Port: "taken"}} }), 409, "port_in_use", "spec.nics[1].port", ""},
		{"a token of the past", token, 422, "invalid_value", "spec.expires_at", ""},
	} {
		t.Run(strings.ReplaceAll(x.name, " ", "_"), func(t *testing.T) {
			_, err := c.try(c.write(), x.o)
			p := refused(t, err, x.status, x.code, x.field)
			if !strings.Contains(p.Detail, x.says) {
				t.Errorf("it says %q, want %q in it", p.Detail, x.says)
			}
		})
	}
	if after := c.view().Revision(); after != before {
		t.Errorf("refused requests wrote something: revision %d, was %d", after, before)
	}
}

func TestAdmission_changesOnlyWhatCanChange(t *testing.T) {
	c := newCloud(t)
	sub := c.subnet("sub", "10.0.0.0/24")
	id := c.create(instance("i")).GetMeta().ID
	i := c.view().Get(api.KindInstance, id).(*api.Instance)
	for _, x := range []struct {
		kind, id, field string
		change          func(o api.Object)
	}{
		{api.KindInstance, id, "spec.type", func(o api.Object) { o.(*api.Instance).Spec.Type = "s1-small" }},
		{api.KindInstance, id, "spec.nics", func(o api.Object) { o.(*api.Instance).Spec.NICs = nil }},
		{api.KindPort, i.Spec.NICs[0].Port, "spec.addresses", func(o api.Object) { o.(*api.Port).Spec.Addresses = at("10.0.0.77") }},
		{api.KindSubnet, sub, "spec.cidr", func(o api.Object) { o.(*api.Subnet).Spec.CIDR = netip.MustParsePrefix("10.0.0.0/16") }},
		{api.KindNetwork, c.network, "spec.mtu", func(o api.Object) { o.(*api.Network).Spec.MTU = 1400 }},
		{api.KindImage, c.image, "spec.architecture", func(o api.Object) { o.(*api.Image).Spec.Architecture = "aarch64" }},
	} {
		_, err := c.b.Update(c.ctx, c.write(), x.kind, x.id, func(o api.Object) error { x.change(o); return nil })
		refused(t, err, 422, "immutable", x.field)
	}
	done, err := c.b.Update(c.ctx, c.write(), api.KindInstance, id, func(o api.Object) error {
		s := &o.(*api.Instance).Spec
		s.Power, s.UserData, s.Type, s.Image = api.PowerOff, "#!/bin/sh", "t1-nano", "tiny" // the same, by name
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	got := done.Object.(*api.Instance)
	if got.Generation != 2 || got.Spec.Power != api.PowerOff || got.Spec.Type != i.Spec.Type || got.Spec.Image != c.image {
		t.Errorf("after the change: generation %d, %+v", got.Generation, got.Spec)
	}
}

func TestUpdate_raisesTheGenerationOnlyWithTheSpec(t *testing.T) {
	c := newCloud(t)
	update := func(change func(o api.Object)) *api.Meta {
		t.Helper()
		done, err := c.b.Update(c.ctx, c.write(), api.KindNetwork, c.network, func(o api.Object) error { change(o); return nil })
		if err != nil {
			t.Fatal(err)
		}
		return done.Object.GetMeta()
	}
	first := c.view().Get(api.KindNetwork, c.network).GetMeta()
	if m := update(func(api.Object) {}); m.Revision != first.Revision || m.Generation != 1 || !m.UpdatedAt.Equal(first.UpdatedAt) {
		t.Errorf("a change of nothing gave revision %d, generation %d", m.Revision, m.Generation)
	}
	labelled := update(func(o api.Object) { o.GetMeta().Labels = map[string]string{"a": "b"} })
	if labelled.Generation != 1 || labelled.Revision <= first.Revision {
		t.Errorf("a label gave revision %d, generation %d", labelled.Revision, labelled.Generation)
	}
	if m := update(func(o api.Object) { o.(*api.Network).Spec.Description = "x" }); m.Generation != 2 {
		t.Errorf("a change of the spec gave generation %d", m.Generation)
	}
	w := c.write()
	w.IfMatch = first.Revision
	_, err := c.b.Update(c.ctx, w, api.KindNetwork, c.network, func(api.Object) error { return nil })
	refused(t, err, 412, "precondition_failed", "")
	_, err = c.b.Delete(c.ctx, w, api.KindNetwork, c.network, false)
	refused(t, err, 412, "precondition_failed", "")
	_, err = c.b.Update(c.ctx, c.write(), api.KindNetwork, c.network, func(o api.Object) error {
		m := o.GetMeta()
		m.ID, m.Project, m.Generation, m.Finalizers = "net_evil", "prj_evil", 99, []string{"evil"}
		return nil
	})
	if m := c.view().Get(api.KindNetwork, c.network).GetMeta(); err != nil || m.Project != c.project || m.Generation != 2 || len(m.Finalizers) != 0 {
		t.Errorf("what is Cairn's was changed: %+v, %v", m, err)
	}
}

func TestCreate_dryRunSaysWhatWouldBe(t *testing.T) {
	c := newCloud(t)
	c.subnet("sub", "10.0.0.0/24")
	c.host("h1", 4, 4096, 100)
	before := c.view().Revision()
	w := c.write()
	w.DryRun = true
	done, err := c.try(w, instance("i"))
	if err != nil {
		t.Fatal(err)
	}
	if s := done.Object.(*api.Instance).Status; s.State != api.StatePending {
		t.Errorf("the state of what would be is %q", s.State)
	}
	n := &api.Network{}
	n.Name = "n"
	if done, err := c.try(w, n); err != nil || done.Object.(*api.Network).Status.State != api.StateReady {
		t.Errorf("%+v, %v", done.Object, err)
	}
	p := done.Preview
	if p == nil || p.Host != "h1" || len(p.Addresses) != 1 || !netip.MustParsePrefix("10.0.0.0/24").Contains(netip.MustParseAddr(p.Addresses[0])) {
		t.Fatalf("the preview is %+v", p)
	}
	if q := p.Quota["vcpus"]; q.Used != 0 || q.After != 1 || q.Limit != 100000 {
		t.Errorf("the quota is %+v", p.Quota)
	}
	if got := c.view(); got.Revision() != before || count(got, api.KindInstance, nil) != 0 {
		t.Error("a dry run wrote something")
	}
	i := instance("i")
	i.Spec.RequiredLabels = map[string]string{"zone": "moon"}
	if done, err = c.try(w, i); err != nil || done.Preview.Host != "" || len(done.Preview.Rejected) != 1 || done.Preview.Rejected[0].Filter != "labels" {
		t.Errorf("where no host fits: %+v, %v", done.Preview, err)
	}
}

func TestImages_ofTheSystemServeEveryProject(t *testing.T) {
	c := newCloud(t)
	sys := c.view().Lookup(api.KindProject, "", api.SystemProject).GetMeta().ID
	own := c.project
	c.project = sys
	shared := c.readyImage("debian", 1<<30)
	c.project = own
	i := instance("i")
	i.Spec.Image, i.Spec.NICs = "debian", nil
	if got := c.create(i).(*api.Instance).Spec.Image; got != shared {
		t.Errorf("the image is %s", got)
	}
	p := &api.Project{}
	p.Name = "stranger"
	c.project = c.create(p).GetMeta().ID
	for _, ref := range []string{"tiny", c.image} { // by name and by ID
		i := instance("i")
		i.Spec.Image, i.Spec.NICs = ref, nil
		_, err := c.try(c.write(), i)
		refused(t, err, 422, "reference_not_found", "spec.image")
	}
}

func TestTokens_areStoredAsDigestsOnly(t *testing.T) {
	c := newCloud(t)
	tok := &api.Token{}
	tok.Name, tok.Spec.Role = "ci", api.RoleMember
	got := c.create(tok).(*api.Token)
	if len(got.Secret) != len("cairn_")+43 || got.Spec.SecretSHA256 != digest(got.Secret) {
		t.Fatalf("the secret is %q", got.Secret)
	}
	v := c.view()
	if v.Owner(api.TokenKey(digest(got.Secret))) != got.ID || v.Get(api.KindToken, got.ID).(*api.Token).Secret != "" {
		t.Error("the token is not found by its digest, or its secret is stored")
	}
	j := c.joinToken("j")
	if !strings.HasPrefix(j.Secret, "cjt_"+j.ID+".") || !strings.HasSuffix(j.Secret, "."+c.b.caPin) {
		t.Errorf("the join token is %q", j.Secret)
	}
}

// TestTokens_theLastAdminStays: a cloud whose administrator deleted the only token
// that he has could never be administered again.
func TestTokens_theLastAdminStays(t *testing.T) {
	c := newCloud(t)
	sys := c.view().Lookup(api.KindProject, "", api.SystemProject).GetMeta().ID
	first := c.view().Lookup(api.KindToken, sys, "admin").GetMeta().ID
	remove := func(id string) error {
		_, err := c.b.Delete(c.ctx, c.write(), api.KindToken, id, true)
		return err
	}
	token := func(name, project string, role api.Role, expires time.Duration) string {
		tok := &api.Token{}
		tok.Name, tok.Project, tok.Spec.Role = name, project, role
		if expires != 0 {
			at := time.Now().Add(expires)
			tok.Spec.ExpiresAt = &at
		}
		return c.create(tok).GetMeta().ID
	}
	token("member", sys, api.RoleMember, 0)
	token("soon", sys, api.RoleAdmin, time.Minute)
	tenant := token("tenant", c.project, api.RoleAdmin, 0)
	c.b.now = func() time.Time { return time.Now().Add(time.Hour) }
	refused(t, remove(first), 409, "last_admin", "")
	if err := remove(tenant); err != nil {
		t.Errorf("a project's only admin token: %v", err)
	}
	token("second", sys, api.RoleAdmin, 0)
	if err := remove(first); err != nil {
		t.Errorf("there is another one: %v", err)
	}
}

// TestBootstrap_onceAlsoInARace: many first starts, of two processes, make one
// project "system" and one admin, whose secret one of them is told.
func TestBootstrap_onceAlsoInARace(t *testing.T) {
	c := joinCloud(t, storetest.New(t), t.TempDir())
	if _, err := c.b.Bootstrap(c.ctx, func(string) error { return errors.New("the disk is full") }); err == nil || count(c.view(), api.KindProject, nil) != 0 {
		t.Fatalf("a cloud began whose secret nobody has: %v", err)
	}
	both := []*cloud{c, joinCloud(t, storetest.Beside(t, c.store), t.TempDir())}
	secrets := make([]string, 8)
	if got := atOnce(t, len(secrets), func(n int) error {
		secret := ""
		began, err := both[n%2].b.Bootstrap(c.ctx, func(s string) error {
			secret = s
			return nil
		})
		if began {
			secrets[n] = secret
		}
		return err
	}); got[""] != len(secrets) {
		t.Fatalf("the answers are %v", got)
	}
	told := strings.Join(secrets, "")
	if len(told) != len("cairn_")+43 || c.view().Owner(api.TokenKey(digest(told))) == "" {
		t.Fatalf("the secrets are %q", secrets)
	}
	v := c.view()
	sys := v.Lookup(api.KindProject, "", api.SystemProject)
	if n := count(v, api.KindInstanceType, nil); sys == nil || n != len(defaultTypes) {
		t.Errorf("project %v, %d types", sys, n)
	}
	_, err := c.b.Delete(c.ctx, c.write(), api.KindProject, sys.GetMeta().ID, true)
	if p := refused(t, err, 409, "in_use", ""); !strings.Contains(p.Detail, "token admin") {
		t.Errorf("it says %q", p.Detail)
	}
	c.commit(func(v *store.View) (store.Change, error) {
		return store.Change{Delete: []api.Object{v.Lookup(api.KindToken, sys.GetMeta().ID, "admin")}}, nil
	})
	_, err = c.b.Delete(c.ctx, c.write(), api.KindProject, sys.GetMeta().ID, true)
	refused(t, err, 409, "protected", "")
}
