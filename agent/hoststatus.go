package agent

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"runtime/debug"

	"golang.org/x/sys/unix"

	"github.com/cairn-cloud/cairn/api"
)

// FindUnderlay finds the interface that holds the address, or, where it is not
// given, the address that packets to the outside leave from.
func FindUnderlay(address netip.Addr) (Underlay, error) {
	if !address.IsValid() {
		// Connecting a UDP socket sends nothing; it only asks for the route.
		c, err := net.Dial("udp4", "198.51.100.1:9")
		if err != nil {
			return Underlay{}, fmt.Errorf("find the underlay address: there is no default route (%w); give the address", err)
		}
		address = c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
		_ = c.Close()
	}
	links, err := net.Interfaces()
	if err != nil {
		return Underlay{}, fmt.Errorf("find the interface of %s: %w", address, err)
	}
	for _, l := range links {
		as, err := l.Addrs()
		if err != nil {
			return Underlay{}, fmt.Errorf("addresses of %s: %w", l.Name, err)
		}
		for _, a := range as {
			if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Unmap() == address {
				return Underlay{Address: address, MTU: l.MTU, Uplink: l.Name}, nil
			}
		}
	}
	return Underlay{}, fmt.Errorf("find the interface of %s: no interface holds that address", address)
}

// FindUplink finds the interface on which public addresses are announced: the one
// of that name or, where none is given, the one that the default route leads by, or
// that holds the underlay address.
func FindUplink(name string, u Underlay) (string, error) {
	if name != "" {
		if _, err := net.InterfaceByName(name); err != nil {
			return "", fmt.Errorf("find the uplink %s: %w", name, err)
		}
		return name, nil
	}
	if out, err := FindUnderlay(netip.Addr{}); err == nil {
		return out.Uplink, nil
	}
	return u.Uplink, nil
}

// hostStatus is what the host says of itself.
func (a *Agent) hostStatus(ctx context.Context) (api.HostStatus, error) {
	info, err := a.o.Drivers.Hypervisor.Info(ctx)
	if err != nil {
		return api.HostStatus{}, err
	}
	var st unix.Statfs_t
	if err := unix.Statfs(string(a.o.Layout), &st); err != nil {
		return api.HostStatus{}, fmt.Errorf("size of the disk of %s: %w", a.o.Layout, err)
	}
	s := api.HostStatus{
		Address: a.o.Underlay.Address.String(), UnderlayMTU: a.o.Underlay.MTU, Uplink: a.o.Underlay.Uplink, AgentURL: a.o.URL,
		Architecture: info.Architecture, CPUs: info.CPUs, MemoryMiB: info.MemoryMiB,
		DiskGiB:        int64(st.Blocks) * st.Bsize >> 30,
		Virtualization: info.Virtualization, Versions: maps.Clone(info.Versions), Missing: a.o.Missing,
		Storage: a.o.Storage, CPU: info.CPU,
	}
	for _, o := range []struct {
		has    *int64
		offers int64
	}{{&s.CPUs, a.o.Size.VCPUs}, {&s.MemoryMiB, a.o.Size.MemoryMiB}, {&s.DiskGiB, a.o.Size.DiskGiB}} {
		if o.offers > 0 {
			*o.has = o.offers
		}
	}
	s.SelfFencing = int(a.selfFencing().Seconds())
	s.State = api.StateReady
	if s.Versions == nil {
		s.Versions = map[string]string{}
	}
	s.Versions["agent"] = version()
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		s.Versions["kernel"] = unix.ByteSliceToString(u.Release[:])
	}
	return s, nil
}

// version is that of this binary, as it was built.
func version() string {
	if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" {
		return b.Main.Version
	}
	return "unknown"
}
