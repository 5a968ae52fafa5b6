package linux

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/cairn-cloud/cairn/network"
)

// observeFilters reads of the thread's bridges whether what they pass on comes by
// the rules of the host's IP. (The netlink library does not tell.)
func observeFilters(x network.Space) error {
	msgs, err := again(func() ([][]byte, error) {
		r := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_DUMP)
		r.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
		r.AddData(nl.NewRtAttr(unix.IFLA_LINKINFO, nl.NewRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated(string(network.KindBridge))).Serialize()))
		return r.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
	})
	if err != nil {
		return fmt.Errorf("list bridges: %w", err)
	}
	for _, m := range msgs {
		name, filtered, err := filterOf(m)
		if err != nil {
			return fmt.Errorf("list bridges: %w", err)
		}
		if l, ok := x.Links[name]; ok && l.Kind == network.KindBridge {
			l.Filtered = filtered
			x.Links[name] = l
		}
	}
	return nil
}

// filterOf reads a link's name, and of a bridge whether both families are filtered.
func filterOf(message []byte) (name string, filtered bool, err error) {
	attrs, err := nl.ParseRouteAttr(message[unix.SizeofIfInfomsg:])
	if err != nil {
		return "", false, err
	}
	is := map[uint16]bool{}
	for _, a := range attrs {
		switch a.Attr.Type {
		case unix.IFLA_IFNAME:
			name = unix.ByteSliceToString(a.Value)
		case unix.IFLA_LINKINFO:
			info, err := nested(a.Value, nl.IFLA_INFO_DATA)
			if err != nil {
				return "", false, err
			}
			for t, v := range info {
				is[t] = len(v) == 1 && v[0] == 1
			}
		}
	}
	return name, is[nl.IFLA_BR_NF_CALL_IPTABLES] && is[nl.IFLA_BR_NF_CALL_IP6TABLES], nil
}

// nested finds what is in an attribute of that type.
func nested(b []byte, what uint16) (map[uint16][]byte, error) {
	out := map[uint16][]byte{}
	attrs, err := nl.ParseRouteAttr(b)
	for _, a := range attrs {
		if a.Attr.Type&^unix.NLA_F_NESTED != what {
			continue
		}
		inner, err := nl.ParseRouteAttr(a.Value)
		if err != nil {
			return nil, err
		}
		for _, i := range inner {
			out[i.Attr.Type&^unix.NLA_F_NESTED] = i.Value
		}
	}
	return out, err
}

// filter has what a bridge of the thread's namespace passes on come by the rules
// of the host's IP, or not.
func filter(index int, on bool) error {
	if on {
		if err := loadFilter(); err != nil {
			return err
		}
	}
	value := map[bool][]byte{true: {1}, false: {0}}[on]
	r := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_ACK)
	m := nl.NewIfInfomsg(unix.AF_UNSPEC)
	m.Index = int32(index)
	r.AddData(m)
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated(string(network.KindBridge)))
	data := info.AddRtAttr(nl.IFLA_INFO_DATA, nil)
	data.AddRtAttr(nl.IFLA_BR_NF_CALL_IPTABLES, value)
	data.AddRtAttr(nl.IFLA_BR_NF_CALL_IP6TABLES, value)
	r.AddData(info)
	_, err := r.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// filterSettings are the sysctls by which the filter is on for all bridges of a host.
const filterSettings = "/proc/sys/net/bridge/bridge-nf-call-"

// loadFilter loads the kernel's module that brings packets of bridges to the rules
// of IP. Where it comes only now, it stays off for the bridges of others.
func loadFilter() error {
	_, err := os.Stat(filterSettings + "iptables")
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if out, err := exec.Command("modprobe", "br_netfilter").CombinedOutput(); err != nil {
		return fmt.Errorf("load the kernel's module br_netfilter, without which security groups cannot be enforced: %w: %s", err, out)
	}
	for _, what := range []string{"iptables", "ip6tables", "arptables"} {
		if err := os.WriteFile(filterSettings+what, []byte("0"), 0); err != nil {
			return fmt.Errorf("keep the bridges of others as they were: %w", err)
		}
	}
	return nil
}
