package linux

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/cairn-cloud/cairn/network"
)

// space is a network namespace and a way to speak to the kernel in it.
type space struct {
	ns    netns.NsHandle
	links *netlink.Handle
	index map[string]int // of links, as last seen
}

// openSpace takes over the handle.
func openSpace(ns netns.NsHandle) (*space, error) {
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, errors.Join(err, ns.Close())
	}
	// In a container one may not have more than the system's limit, which is enough for most.
	if h.SetSocketReceiveBufferSize(socketBuffer, true) != nil {
		if err := h.SetSocketReceiveBufferSize(socketBuffer, false); err != nil {
			h.Close()
			return nil, errors.Join(err, ns.Close())
		}
	}
	return &space{ns: ns, links: h, index: map[string]int{}}, nil
}

func (s *space) Close() error {
	s.links.Close()
	return s.ns.Close()
}

// indexOf finds a link's number.
func (s *space) indexOf(name string) (int, error) {
	if i, ok := s.index[name]; ok {
		return i, nil
	}
	l, err := s.links.LinkByName(name)
	if err != nil {
		return 0, err
	}
	s.index[name] = l.Attrs().Index
	return l.Attrs().Index, nil
}

// kernel is the host's namespace and its routers', while one looks or changes.
type kernel struct {
	*Network
	routers map[string]*space
}

// open begins to look or change. Close must be called.
func (n *Network) open() *kernel {
	n.host.index = map[string]int{}
	return &kernel{Network: n, routers: map[string]*space{}}
}

// Close ends it.
func (k *kernel) Close() (err error) {
	for _, s := range k.routers {
		err = errors.Join(err, s.Close())
	}
	return err
}

// space finds a namespace by name; the host's is "".
func (k *kernel) space(name string) (*space, error) {
	if name == "" {
		return k.host, nil
	}
	if s, ok := k.routers[name]; ok {
		return s, nil
	}
	if !isNamespace(k.path(name)) {
		return nil, fmt.Errorf("there is no namespace %s", k.path(name))
	}
	ns, err := netns.GetFromPath(k.path(name))
	if err != nil {
		return nil, err
	}
	s, err := openSpace(ns)
	if err != nil {
		return nil, err
	}
	k.routers[name] = s
	return s, nil
}

// forget closes a namespace that is about to go.
func (k *kernel) forget(name string) error {
	s, ok := k.routers[name]
	if !ok {
		return nil
	}
	delete(k.routers, name)
	return s.Close()
}

// ours tells whether a link of a namespace may be changed by us. What is in a
// router is ours.
func ours(namespace string, l netlink.Link) bool {
	a := l.Attrs()
	return namespace != "" || network.OwnedLink(a.Name, a.Alias, a.Group)
}
