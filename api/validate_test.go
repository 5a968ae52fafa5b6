package api_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/cairn-cloud/cairn/api"
)

// wrong is one bad input: a merge over the kind's example, and the field that
// must be named. detail is a part of what must be said.
type wrong struct{ kind, patch, field, detail string }

func TestValidate_namesTheFieldAndTheCause(t *testing.T) {
	for _, c := range []wrong{
		{"project", `{"name":""}`, "name", `"" is not a name`},
		{"project", `{"name":"Shop"}`, "name", `"Shop" is not a name`},
		{"project", `{"name":"9lives"}`, "name", "is not a name"},
		{"project", `{"name":"a-"}`, "name", "is not a name"},
		{"project", `{"name":"ins_abc"}`, "name", "is not a name"},
		{"project", `{"name":"` + strings.Repeat("a", 64) + `"}`, "name", "is not a name"},
		{"project", `{"labels":{"a b":"c"}}`, "labels.a b", "is not a label's key"},
		{"project", `{"labels":{"":"c"}}`, "labels.", "is not a label's key"},
		{"project", `{"labels":{"a":"c d"}}`, "labels.a", "is not a label's value"},
		{"project", `{"spec":{"quota":{"vcpus":-1}}}`, "spec.quota.vcpus", "negative"},
		{"token", `{"spec":{"role":"root"}}`, "spec.role", `"root" is no role`},
		{"token", `{"spec":{"role":""}}`, "spec.role", "is no role"},
		{"instance-type", `{"spec":{"vcpus":0}}`, "spec.vcpus", "0 is not between 1 and 512"},
		{"instance-type", `{"spec":{"memory_mib":2}}`, "spec.memory_mib", "2 is not between 64 and"},
		{"instance-type", `{"spec":{"disk_gib":-5}}`, "spec.disk_gib", "-5 is not between"},
		{"instance-type", `{"spec":{"architecture":"vax"}}`, "spec.architecture", `"vax"`},
		{"image", `{"spec":{"source_url":"file:///etc/shadow"}}`, "spec.source_url", "not an http(s) URL"},
		{"image", `{"spec":{"source_url":"http://"}}`, "spec.source_url", "not an http(s) URL"},
		{"image", `{"spec":{"source_url":"https://me:secret@example.org/x"}}`, "spec.source_url", "credentials"},
		{"image", `{"spec":{"sha256":"ABC"}}`, "spec.sha256", "not a SHA-256"},
		{"image", `{"spec":{"size_bytes":-1}}`, "spec.size_bytes", "negative"},
		{"ssh-key", `{"spec":{"public_key":"hello"}}`, "spec.public_key", "not of the form"},
		{"ssh-key", `{"spec":{"public_key":"ssh-ed25519 !!!"}}`, "spec.public_key", "not base64"},
		{"ssh-key", `{"spec":{"public_key":"ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAA"}}`, "spec.public_key", "do not match"},
		{"ssh-key", `{"spec":{"public_key":"-----BEGIN OPENSSH PRIVATE KEY-----"}}`, "spec.public_key", "private key"},
		{"ssh-key", `{"spec":{"public_key":"ssh-ed25519 AAAA\nssh-ed25519 AAAA"}}`, "spec.public_key", "more than one line"},
		{"network", `{"spec":{"mtu":575}}`, "spec.mtu", "575 is not between"},
		{"network", `{"spec":{"mtu":70000}}`, "spec.mtu", "70000 is not between"},
		{"network", `{"spec":{"egress":"some"}}`, "spec.egress", `"some" is no way out`},
		{"network", `{"spec":{"routes":[{"destination":"172.16.0.0/12","via":"fd00::5"}]}}`, "spec.routes[0].via", "no address by which 172.16.0.0/12"},
		{"network", `{"spec":{"routes":[{"destination":"172.16.0.0/12"}]}}`, "spec.routes[0].via", "no address by which"},
		{"network", `{"spec":{"routes":[{"via":"10.0.0.5"}]}}`, "spec.routes[0].destination", "not a prefix"},
		{"network", `{"spec":{"routes":[{"destination":"172.16.0.1/12","via":"10.0.0.5"}]}}`, "spec.routes[0].destination", "bits set"},
		{"network", `{"spec":{"routes":[{"destination":"169.254.0.0/16","via":"10.0.0.5"}]}}`, "spec.routes[0].destination", "metadata service"},
		{"network", `{"spec":{"routes":[{"destination":"198.18.4.0/24","via":"10.0.0.5"}]}}`, "spec.routes[0].destination", "hosts' routers"},
		{"network", `{"spec":{"egress":"nat","routes":[{"destination":"0.0.0.0/0","via":"10.0.0.5"}]}}`, "spec.routes[0].destination", "own way out"},
		{"network", `{"spec":{"routes":[{"destination":"172.16.0.0/12","via":"10.0.0.5"},{"destination":"172.16.0.0/12","via":"10.0.0.6"}]}}`, "spec.routes[1].destination", "routes[0] already"},
		{"network", `{"spec":{"domain":"shop"}}`, "spec.domain", "two to ten names"},
		{"network", `{"spec":{"domain":"Shop.example"}}`, "spec.domain", "lower-case"},
		{"network", `{"spec":{"domain":"shop.example."}}`, "spec.domain", "two to ten names"},
		{"network", `{"spec":{"domain":"a-.example"}}`, "spec.domain", "two to ten names"},
		{"network", `{"spec":{"domain":"10.in-addr.arpa"}}`, "spec.domain", "arpa"},
		{"network", `{"spec":{"domain":"shop.local"}}`, "spec.domain", "local means the same everywhere"},
		{"subnet", `{"spec":{"network":""}}`, "spec.network", "in a network"},
		{"subnet", `{"spec":{"cidr":""}}`, "spec.cidr", "not a prefix"},
		{"subnet", `{"spec":{"cidr":"fd00::/48"}}`, "spec.cidr", "not a /64"},
		{"subnet", `{"spec":{"cidr":"fd00::/80"}}`, "spec.cidr", "not a /64"},
		{"subnet", `{"spec":{"cidr":"::ffff:10.0.0.0/120"}}`, "spec.cidr", "not a /64"},
		{"subnet", `{"spec":{"cidr":"fd00::1/64"}}`, "spec.cidr", "bits set"},
		{"subnet", `{"spec":{"cidr":"fd00:ec2::/64"}}`, "spec.cidr", "metadata"},
		{"subnet", `{"spec":{"cidr":"fe80::/64"}}`, "spec.cidr", "link-local"},
		{"subnet", `{"spec":{"cidr":"ff02::/64"}}`, "spec.cidr", "multicast"},
		{"subnet", `{"spec":{"cidr":"64:ff9b::/64"}}`, "spec.cidr", "wrapped"},
		{"subnet", `{"spec":{"cidr":"fd00::/64","gateway":"10.0.0.1"}}`, "spec.gateway", "outside"},
		{"subnet", `{"spec":{"cidr":"fd00::/64","gateway":"fd00::1%eth0"}}`, "spec.gateway", "outside"},
		{"subnet", `{"spec":{"cidr":"fd00::/64","gateway":"fd00::"}}`, "spec.gateway", "network's"},
		{"subnet", `{"spec":{"cidr":"fd00::/64","gateway":"fd00::1","dns_servers":["fd00::53","9.9.9.9"]}}`, "spec.dns_servers[1]", "not IPv6"},
		{"subnet", `{"spec":{"cidr":"10.0.0.5/24"}}`, "spec.cidr", "bits set"},
		{"subnet", `{"spec":{"cidr":"10.0.0.0/30"}}`, "spec.cidr", "too small"},
		{"subnet", `{"spec":{"cidr":"8.0.0.0/6"}}`, "spec.cidr", "too large"},
		{"subnet", `{"spec":{"cidr":"169.254.0.0/24"}}`, "spec.cidr", "metadata"},
		{"subnet", `{"spec":{"cidr":"127.1.0.0/16"}}`, "spec.cidr", "loopback"},
		{"subnet", `{"spec":{"cidr":"224.0.0.0/8"}}`, "spec.cidr", "multicast"},
		{"subnet", `{"spec":{"gateway":"10.0.1.1"}}`, "spec.gateway", "outside"},
		{"subnet", `{"spec":{"gateway":"10.0.0.255"}}`, "spec.gateway", "broadcast"},
		{"subnet", `{"spec":{"gateway":"10.0.0.0"}}`, "spec.gateway", "network's"},
		{"subnet", `{"spec":{"dns_servers":["9.9.9.9","::1"]}}`, "spec.dns_servers[1]", "not IPv4"},
		{"subnet", `{"spec":{"ranges":["10.0.0.9-10.0.0.5"]}}`, "spec.ranges[0]", "ends before it begins"},
		{"subnet", `{"spec":{"ranges":["x"]}}`, "spec.ranges[0]", "neither"},
		{"subnet", `{"spec":{"ranges":["10.0.0.250-10.0.1.5"]}}`, "spec.ranges[0]", "not within 10.0.0.0/24"},
		{"subnet", `{"spec":{"ranges":["10.0.0.16/28","10.0.0.31"]}}`, "spec.ranges[1]", "overlaps 10.0.0.16/28"},
		{"subnet", `{"spec":{"reserved":["fd00::5"]}}`, "spec.reserved[0]", "not within"},
		{"subnet", `{"spec":{"reserved":["::ffff:10.0.0.5"]}}`, "spec.reserved[0]", "neither"},
		{"subnet", `{"spec":{"cidr":"fd00::/64","gateway":"fd00::1","ranges":["fd00::/65"]}}`, "spec.ranges", "made from MACs"},
		{"subnet", `{"spec":{"ranges":[` + strings.Repeat(`"10.0.0.1",`, 16) + `"10.0.0.1"]}}`, "spec.ranges", "more than 16"},
		{"port", `{"spec":{"network":"","addresses":null}}`, "spec.network", "in a network"},
		{"port", `{"spec":{"network":"","addresses":[{"subnet":"","address":"10.0.0.5"}]}}`, "spec.network", "in a network"},
		{"port", `{"spec":{"addresses":[{"address":"10.0.0.5"},{"subnet":"","address":""}]}}`, "spec.addresses[1]", "neither"},
		{"port", `{"spec":{"addresses":[{"address":"10.0.0.5"},{"subnet":"s","address":"10.0.0.5"}]}}`, "spec.addresses[1].address", "twice"},
		{"port", `{"spec":{"addresses":[{"address":"::ffff:10.0.0.5"}]}}`, "spec.addresses[0].address", "plain"},
		{"port", `{"spec":{"addresses":[{"address":"fe80::1%eth0"}]}}`, "spec.addresses[0].address", "plain"},
		{"port", `{"spec":{"addresses":[` + strings.Repeat(`{"subnet":"s"},`, 16) + `{"subnet":"s"}]}}`, "spec.addresses", "more than 16"},
		{"port", `{"spec":{"mac":"hello"}}`, "spec.mac", "not a MAC"},
		{"port", `{"spec":{"mac":"01:00:5e:00:00:01"}}`, "spec.mac", "multicast"},
		{"port", `{"spec":{"mac":"` + api.GatewayMAC + `"}}`, "spec.mac", "gateway"},
		{"port", `{"spec":{"bandwidth":{"ingress_mbps":0}}}`, "spec.bandwidth.ingress_mbps", "0 is not between 1 and"},
		{"port", `{"spec":{"bandwidth":{"egress_mbps":100001}}}`, "spec.bandwidth.egress_mbps", "not between 1 and"},
		{"instance", `{"spec":{"nics":[{"network":"n","bandwidth":{"egress_mbps":-1}}]}}`, "spec.nics[0].bandwidth.egress_mbps", "not between 1 and"},
		{"external-network", `{"spec":{"pools":[]}}`, "spec.pools", "no addresses"},
		{"external-network", `{"spec":{"pools":["x"]}}`, "spec.pools[0]", "neither a prefix nor"},
		{"external-network", `{"spec":{"pools":["203.0.113.0/24-203.0.113.5"]}}`, "spec.pools[0]", "neither a prefix nor"},
		{"external-network", `{"spec":{"pools":["203.0.113.5/24"]}}`, "spec.pools[0]", "bits set"},
		{"external-network", `{"spec":{"pools":["203.0.113.9-203.0.113.5"]}}`, "spec.pools[0]", "ends before it begins"},
		{"external-network", `{"spec":{"pools":["203.0.113.9-2001:db8::1"]}}`, "spec.pools[0]", "write IPv6 as a prefix"},
		{"external-network", `{"spec":{"pools":["203.0.113.0/24","203.0.113.254-203.0.114.9"]}}`, "spec.pools[1]", "overlaps 203.0.113.0/24"},
		{"external-network", `{"spec":{"pools":["2001:db8::/65"]}}`, "spec.pools[0]", "too small"},
		{"external-network", `{"spec":{"pools":["2000::/3"]}}`, "spec.pools[0]", "too large"},
		{"external-network", `{"spec":{"pools":["10.0.0.0/7"]}}`, "spec.pools[0]", "more than 16777216"},
		{"external-network", `{"spec":{"pools":["169.254.0.0/24"]}}`, "spec.pools[0]", "metadata"},
		{"external-network", `{"spec":{"pools":["198.18.7.0/24"]}}`, "spec.pools[0]", "hosts' routers"},
		{"external-network", `{"spec":{"pools":["fe80::/64"]}}`, "spec.pools[0]", "link-local"},
		{"external-network", `{"spec":{"pools":["::ffff:203.0.113.0/120"]}}`, "spec.pools[0]", "neither a prefix nor"},
		{"floating-ip", `{"spec":{"address":"2001:db8::1"}}`, "spec.address", "not IPv4"},
		{"floating-ip", `{"spec":{"port_address":"::ffff:10.0.0.5"}}`, "spec.port_address", "not IPv4"},
		{"port", `{"spec":{"security_groups":["a","b","a"]}}`, "spec.security_groups[2]", "named twice"},
		{"port", `{"spec":{"security_groups":[""]}}`, "spec.security_groups[0]", "names no"},
		{"port", `{"spec":{"security_groups":["1","2","3","4","5","6","7","8","9"]}}`, "spec.security_groups", "more than 8"},
		{"security-group", rules(`{"direction":"up"}`), "spec.rules[0].direction", `"up" is neither`},
		{"security-group", rules(`{"direction":"ingress","protocol":"tpc"}`), "spec.rules[0].protocol", `"tpc" is no protocol`},
		{"security-group", rules(`{"direction":"ingress","protocol":"256"}`), "spec.rules[0].protocol", "is no protocol"},
		{"security-group", rules(`{"direction":"ingress","protocol":"any"},{"direction":"ingress","protocol":"any","ports":{"first":80}}`), "spec.rules[1].ports", "the protocol any has no ports"},
		{"security-group", rules(`{"direction":"ingress","protocol":"icmp","ports":{"first":80}}`), "spec.rules[0].ports", "has no ports"},
		{"security-group", rules(`{"direction":"ingress","protocol":"tcp","ports":{"first":90,"last":80}}`), "spec.rules[0].ports", "first port 90 is behind the last 80"},
		{"security-group", rules(`{"direction":"ingress","protocol":"tcp","ports":{"first":1,"last":70000}}`), "spec.rules[0].ports", "not between 0 and 65535"},
		{"security-group", rules(`{"direction":"ingress","protocol":"tcp","icmp_type":8}`), "spec.rules[0].icmp_type", "the protocol tcp has no types"},
		{"security-group", rules(`{"direction":"ingress","protocol":"icmp","icmp_type":256}`), "spec.rules[0].icmp_type", "not between 0 and 255"},
		{"security-group", rules(`{"direction":"ingress","protocol":"icmp","icmp_code":1}`), "spec.rules[0].icmp_code", "belongs to a type"},
		{"security-group", rules(`{"direction":"ingress","protocol":"any","cidr":"10.0.0.0/8","group":"web"}`), "spec.rules[0].group", "given twice"},
		{"security-group", rules(`{"direction":"ingress","protocol":"any","cidr":"10.0.0.1/8"}`), "spec.rules[0].cidr", "bits set"},
		{"security-group", rules(`{"direction":"ingress","protocol":"icmp","cidr":"fd00::/8"}`), "spec.rules[0].cidr", "icmp is of IPv4"},
		{"security-group", rules(`{"direction":"ingress","protocol":"icmpv6","cidr":"10.0.0.0/8"}`), "spec.rules[0].cidr", "icmpv6 is of IPv6"},
		{"security-group", rules(strings.Repeat(`{"direction":"ingress"},`, 100) + `{"direction":"ingress"}`), "spec.rules", "101 rules are more than 100"},
		{"instance", `{"spec":{"nics":[{"network":"n","security_groups":["a","a"]}]}}`, "spec.nics[0].security_groups[1]", "named twice"},
		{"instance", `{"spec":{"type":""}}`, "spec.type", "has a type"},
		{"instance", `{"spec":{"image":""}}`, "spec.image", "from an image"},
		{"instance", `{"spec":{"power":"maybe"}}`, "spec.power", "neither on nor off"},
		{"instance", `{"spec":{"stop_grace_seconds":-1}}`, "spec.stop_grace_seconds", "not between"},
		{"instance", `{"spec":{"nics":[{"network":"","addresses":null,"port":""}]}}`, "spec.nics[0]", "names no port"},
		{"instance", `{"spec":{"nics":[{},{},{},{},{},{},{},{},{}]}}`, "spec.nics", "more than 8"},
		{"instance", `{"spec":{"nics":[{"network":"n","addresses":[{"subnet":"","address":""}]}]}}`, "spec.nics[0].addresses[0]", "neither"},
		{"instance", `{"spec":{"user_data":"` + strings.Repeat("x", 65536) + `"}}`, "spec.user_data", "more than 65535"},
		{"instance", `{"spec":{"required_labels":{"a":"ü"}}}`, "spec.required_labels.a", "not a label's value"},
		{"host", `{"spec":{"vcpu_overcommit":65}}`, "spec.vcpu_overcommit", "not between"},
		{"host", `{"spec":{"memory_reserve_mib":-1}}`, "spec.memory_reserve_mib", "negative"},
		{"host", `{"spec":{"disk_reserve_gib":-1}}`, "spec.disk_reserve_gib", "negative"},
		{"join-token", `{"name":"a_b"}`, "name", "is not a name"},
	} {
		k, ok := api.KindByName(c.kind)
		if !ok {
			t.Fatalf("no kind %s", c.kind)
		}
		o, _ := example(t, k)
		switch o := o.(type) { // or what a patch says would be put into an element that is there
		case *api.SecurityGroup:
			o.Spec.Rules = nil
		case *api.Network:
			o.Spec.Routes = nil
		}
		if err := json.Unmarshal([]byte(c.patch), o); err != nil {
			t.Fatalf("%s %s: %v", c.kind, c.patch, err)
		}
		var f api.Faults
		if !errors.As(o.Validate(), &f) {
			t.Errorf("%s: %.80s is let through", c.kind, c.patch)
			continue
		}
		if !has(f, c.field, c.detail) {
			t.Errorf("%s: %.80s: want a fault of %s with %q, got: %v", c.kind, c.patch, c.field, c.detail, f)
		}
	}
}

// rules is a patch with these rules instead of the example's.
func rules(r string) string { return `{"spec":{"rules":[` + r + `]}}` }

func has(f api.Faults, field, detail string) bool {
	for _, x := range f {
		if x.Field == field && strings.Contains(x.Detail, detail) && x.Code == "invalid_value" {
			return true
		}
	}
	return false
}

func TestValidate_findsAllFaultsAtOnce(t *testing.T) {
	i := &api.Instance{}
	i.Name = "UPPER"
	i.Spec.Power = "maybe"
	var f api.Faults
	if !errors.As(i.Validate(), &f) || len(f) != 4 {
		t.Fatalf("want faults of name, type, image and power, got %v", f)
	}
	p := api.InvalidProblem(f)
	if p.Status != 422 || p.Field != "name" || len(p.Errors) != 4 || p.Hint == "" {
		t.Errorf("the problem is %+v", p)
	}
}

func TestSubnet_smallestAndLargest(t *testing.T) {
	for _, cidr := range []string{"10.0.0.0/8", "192.168.7.8/29", "172.16.0.0/12", "fd00:0:0:7::/64"} {
		s := &api.Subnet{}
		s.Name, s.Spec.Network = "s", "n"
		if err := s.Spec.CIDR.UnmarshalText([]byte(cidr)); err != nil {
			t.Fatal(err)
		}
		s.Default()
		if err := s.Validate(); err != nil {
			t.Errorf("%s: %v", cidr, err)
		}
		if want := s.Spec.CIDR.Addr().Next(); s.Spec.Gateway != want {
			t.Errorf("%s: the gateway is %s, not the first address", cidr, s.Spec.Gateway)
		}
	}
}
