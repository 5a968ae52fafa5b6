package network

import (
	"fmt"
	"maps"
	"strings"
)

// forwarding lets the host pass packets on between its links.
var forwarding = SettingKey{File: "net/ipv4/ip_forward"}

// HostSettings are the sysctls of a link of ours on the host, with the values
// that are wanted; of the host itself when link is empty.
func HostSettings(link string) map[SettingKey]string {
	if link == "" {
		return map[SettingKey]string{forwarding: "1"}
	}
	// The host says nothing on these links, nor listens.
	out := map[SettingKey]string{ipv6Off(link): "1"}
	if strings.HasPrefix(link, "cx") {
		maps.Copy(out, quiet(link)) // it has neighbours, where its network has IPv6
	}
	if !strings.HasPrefix(link, "cu") {
		out[SettingKey{"net/ipv4/conf/" + link + "/arp_ignore", link}] = "8"
	}
	return out
}

// ipv6Off names the sysctl by which a link speaks no IPv6.
func ipv6Off(link string) SettingKey {
	return SettingKey{"net/ipv6/conf/" + link + "/disable_ipv6", link}
}

// quiet are the sysctls with which a link, where it speaks IPv6, makes no address
// by itself and believes no router.
func quiet(link string) map[SettingKey]string {
	conf := "net/ipv6/conf/" + link + "/"
	return map[SettingKey]string{{conf + "addr_gen_mode", link}: "1", {conf + "accept_ra", link}: "0"}
}

// RouterSettings are the sysctls of a link in a router, with the values that
// are wanted; of the router itself when link is empty.
func RouterSettings(link string) map[SettingKey]string {
	switch link {
	case "":
		return map[SettingKey]string{
			{"net/ipv4/ip_forward", ""}:                  "1",
			{"net/ipv4/conf/all/send_redirects", ""}:     "0",
			{"net/ipv4/conf/default/send_redirects", ""}: "0",
			{"net/ipv6/conf/all/forwarding", ""}:         "1",
			{"net/ipv6/conf/all/disable_ipv6", ""}:       "1",
			{"net/ipv6/conf/default/disable_ipv6", ""}:   "1",
		}
	case GatewayLink:
		out := map[SettingKey]string{
			// Subnets share a link, but guests are not to talk past the router.
			{"net/ipv4/conf/gw/send_redirects", link}: "0",
			// Guests are told the MAC of addresses on this link, and of no others.
			{"net/ipv4/conf/gw/arp_ignore", link}: "1",
			ipv6Off(link):                         "1",
		}
		maps.Copy(out, quiet(link))
		return out
	default:
		return nil
	}
}

// uplinkSettings are the sysctls of an interface of the host's that public
// addresses are announced on: how they are to be while there are any.
var uplinkSettings = []struct{ name, file, value string }{
	// It would wait for most of a second before it answers for another.
	{"arp_delay", "net/ipv4/neigh/%s/proxy_delay", "0"},
}

// UplinkSettings are the sysctls of an interface that public addresses are announced on.
func UplinkSettings(link string) map[SettingKey]string {
	out := map[SettingKey]string{}
	for _, s := range uplinkSettings {
		out[SettingKey{File: fmt.Sprintf(s.file, link)}] = s.value
	}
	return out
}

// uplinkValue is the value that a sysctl of an uplink is to have; empty: it is none.
func uplinkValue(key SettingKey) string {
	for _, s := range uplinkSettings {
		before, after, _ := strings.Cut(s.file, "%s")
		if strings.HasPrefix(key.File, before) && strings.HasSuffix(key.File, after) {
			return s.value
		}
	}
	return ""
}

// Were reads from the host how settings of uplinks were before us. It is not
// known where our rules, which tell, are not there.
func Were(host Space) (were map[SettingKey]string, known bool) {
	t, known := host.Tables[hostKey]
	were = map[SettingKey]string{}
	for e := range t.Sets[setWere] {
		remember(were, e)
	}
	return were, known
}

// WereAfter is what is known of those settings once an op was done.
func WereAfter(were map[SettingKey]string, op Op) map[SettingKey]string {
	after := map[SettingKey]string{}
	switch o := op.(type) {
	case PutTable:
		if o.Namespace != "" || o.Table.TableKey != hostKey {
			return were
		}
		for e := range o.Table.State().Sets[setWere] {
			remember(after, e)
		}
	case AddElements:
		if o.Set.Name != setWere {
			return were
		}
		maps.Copy(after, were)
		for _, e := range o.Elements {
			remember(after, e)
		}
	case RemoveElements:
		if o.Set.Name != setWere {
			return were
		}
		gone := map[SettingKey]string{}
		for _, e := range o.Elements {
			remember(gone, e)
		}
		maps.Copy(after, were)
		maps.DeleteFunc(after, func(k SettingKey, _ string) bool { _, ok := gone[k]; return ok })
	case RemoveTable:
		if o.Namespace != "" || o.TableKey != hostKey {
			return were
		}
	default:
		return were
	}
	return after
}

// remember reads an element: the uplink, which setting, and how it was.
func remember(were map[SettingKey]string, element string) {
	parts := strings.Split(strings.ReplaceAll(element, `"`, ""), " . ")
	for _, s := range uplinkSettings {
		if len(parts) == 3 && s.name == parts[1] {
			were[SettingKey{File: fmt.Sprintf(s.file, parts[0])}] = parts[2]
		}
	}
}

// IsForwarding tells whether it is the host's forwarding that is set.
func (o PutSetting) IsForwarding() bool { return o.Namespace == "" && o.SettingKey == forwarding }

// ForwardingWasOff reads from the host whether it forwards because of us. It is
// not known when the host forwards and our rules, which tell, are not there.
func ForwardingWasOff(host Space) (off, known bool) {
	t, known := host.Tables[hostKey]
	return t.Sets[setOurs][elementForwarding], known || host.Settings[forwarding] == "0"
}
