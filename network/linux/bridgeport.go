package linux

import (
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/cairn-cloud/cairn/network"
)

// bridgePorts reads all ports of all bridges of the thread's namespace, by
// their number, in one dump. (The netlink library takes one for each port.)
func bridgePorts() (map[int]network.BridgePort, error) {
	msgs, err := again(func() ([][]byte, error) {
		r := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_DUMP)
		r.AddData(nl.NewIfInfomsg(unix.AF_BRIDGE))
		return r.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
	})
	if err != nil {
		return nil, err
	}
	out := map[int]network.BridgePort{}
	for _, m := range msgs {
		info := nl.DeserializeIfInfomsg(m)
		attrs, err := nl.ParseRouteAttr(m[info.Len():])
		if err != nil {
			return nil, err
		}
		for _, a := range attrs {
			if a.Attr.Type != unix.IFLA_PROTINFO|unix.NLA_F_NESTED {
				continue
			}
			if out[int(info.Index)], err = portOf(a.Value); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

func portOf(b []byte) (p network.BridgePort, err error) {
	attrs, err := nl.ParseRouteAttr(b)
	for _, a := range attrs {
		switch a.Attr.Type {
		case nl.IFLA_BRPORT_LEARNING:
			p.Learning = len(a.Value) > 0 && a.Value[0] != 0
		case nl.IFLA_BRPORT_MODE:
			p.Hairpin = len(a.Value) > 0 && a.Value[0] != 0
		case nl.IFLA_BRPORT_UNICAST_FLOOD:
			p.Flood = len(a.Value) > 0 && a.Value[0] != 0
		}
	}
	return p, err
}
