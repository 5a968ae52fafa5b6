package guest

import (
	"fmt"
	"net/netip"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/cairn-cloud/cairn/api"
)

// noCloudMeta is the file meta-data of cloud-init's data source NoCloud.
type noCloudMeta struct {
	InstanceID    string   `json:"instance-id"`
	LocalHostname string   `json:"local-hostname"`
	PublicKeys    []string `json:"public-keys,omitempty"`
}

// networkConfig is the file network-config, version 2: netplan's format.
type networkConfig struct {
	Version   int                 `json:"version"`
	Ethernets map[string]ethernet `json:"ethernets"`
}

type ethernet struct {
	Match       ethernetMatch  `json:"match"`
	Addresses   []netip.Prefix `json:"addresses"`
	Routes      []networkRoute `json:"routes,omitempty"`
	Nameservers *nameservers   `json:"nameservers,omitempty"`
	MTU         int            `json:"mtu,omitempty"`
}

type ethernetMatch struct {
	MACAddress string `json:"macaddress"`
}

type networkRoute struct {
	To  netip.Prefix `json:"to"`
	Via netip.Addr   `json:"via"`
}

type nameservers struct {
	Addresses []netip.Addr `json:"addresses"`
	Search    []string     `json:"search,omitempty"`
}

// cloudConfig begins a file that cloud-init reads as its configuration.
const cloudConfig = "#cloud-config\n"

// emptyUserData is what a guest gets whose user gave none: cloud-init wants the
// file to be there.
const emptyUserData = cloudConfig + "{}\n"

// vendorData is what an unmodified image is told beyond who it is; user data
// prevails over it. Its own name has to resolve, or sudo and others wait for DNS.
type vendorData struct {
	ManageEtcHosts string `json:"manage_etc_hosts"`
}

// noCloud returns the files of a guest for cloud-init's data source NoCloud:
// those of its config drive, and the same over HTTP. What tenants wrote goes
// through an encoder, so that it stays a value whatever is in it.
func noCloud(g guest) (map[string][]byte, error) {
	files := map[string][]byte{"user-data": userData(g)}
	if g.instance.UserData == "" {
		files["user-data"] = []byte(emptyUserData)
	}
	for _, f := range []struct {
		name, head string
		content    any
	}{
		{"meta-data", "", noCloudMeta{g.instance.ID, g.instance.Name, publicKeys(g)}},
		{"network-config", "", networkConfigOf(g)},
		{"vendor-data", cloudConfig, vendorData{ManageEtcHosts: "localhost"}},
	} {
		b, err := yaml.Marshal(f.content)
		if err != nil {
			return nil, fmt.Errorf("make %s of %s: %w", f.name, g.instance.ID, err)
		}
		files[f.name] = append([]byte(f.head), b...)
	}
	return files, nil
}

func networkConfigOf(g guest) networkConfig {
	c := networkConfig{Version: 2, Ethernets: map[string]ethernet{}}
	for i, n := range g.nics {
		e := ethernet{
			Match: ethernetMatch{n.mac.String()},
			MTU:   n.mtu,
		}
		for _, a := range n.addresses {
			e.Addresses = append(e.Addresses, netip.PrefixFrom(a.Addr, a.subnet.CIDR.Bits()))
		}
		for _, r := range n.routes {
			e.Routes = append(e.Routes, networkRoute{r.to, r.via})
		}
		e.Nameservers = &nameservers{Addresses: n.nameServers()}
		if d := n.network.Domain; api.IsDomain(d) {
			e.Nameservers.Search = []string{d}
		}
		c.Ethernets[fmt.Sprintf("nic%d", i)] = e // only a label: the NIC is found by its MAC
	}
	return c
}

func userData(g guest) []byte { return []byte(g.instance.UserData) }

// publicKeys are the lines that let in, without the empty ones.
func publicKeys(g guest) (out []string) {
	for _, k := range g.instance.SSHKeys {
		if k = strings.TrimSpace(strings.ToValidUTF8(k, "\uFFFD")); k != "" {
			out = append(out, k)
		}
	}
	return out
}
