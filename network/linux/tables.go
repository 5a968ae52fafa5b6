package linux

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/cairn-cloud/cairn/network"
)

// socketBuffer holds a large transaction or dump, in bytes.
const socketBuffer = 8 << 20

// tables speaks nftables in a namespace.
func tables(ns netns.NsHandle) (*nftables.Conn, error) {
	return nftables.New(nftables.WithNetNSFd(int(ns)), nftables.AsLasting(), nftables.WithSockOptions(func(c *netlink.Conn) error {
		return errors.Join(c.SetReadBuffer(socketBuffer), c.SetWriteBuffer(socketBuffer))
	}))
}

// transaction hands all that change asks for to the kernel at once.
func transaction(ns netns.NsHandle, change func(*nftables.Conn) error) error {
	c, err := tables(ns)
	if err != nil {
		return err
	}
	err = change(c)
	if err == nil {
		err = c.Flush()
	}
	return errors.Join(err, c.CloseLasting())
}

var keyTypes = map[string]nftables.SetDatatype{
	setPorts: nftables.MustConcatSetType(nftables.TypeIFName, nftables.TypeEtherAddr, nftables.TypeIPAddr),
	setMACs:  nftables.MustConcatSetType(nftables.TypeIFName, nftables.TypeEtherAddr),
}

func setOf(t *nftables.Table, name string) *nftables.Set {
	return &nftables.Set{Table: t, Name: name, KeyType: keyTypes[name], Concatenation: true}
}

func bridgeTable() *nftables.Table {
	return &nftables.Table{Name: tableName, Family: nftables.TableFamilyBridge}
}

// elements are the keys of ports in one of the sets.
func elements(set string, ports []network.PortRule) (out []nftables.SetElement) {
	for _, p := range ports {
		k := make([]byte, keyTypes[set].Bytes)
		copy(k, p.Tap)
		copy(k[unix.IFNAMSIZ:], p.MAC[:])
		if set == setPorts {
			copy(k[unix.IFNAMSIZ+8:], p.Address.AsSlice())
		}
		out = append(out, nftables.SetElement{Key: k})
	}
	return out
}

// portOf reads an element of the set of ports.
func portOf(k []byte) (p network.PortRule, ok bool) {
	if len(k) != int(keyTypes[setPorts].Bytes) {
		return p, false
	}
	p.Tap = strings.TrimRight(string(k[:unix.IFNAMSIZ]), "\x00")
	p.MAC = [6]byte(k[unix.IFNAMSIZ:])
	p.Address, ok = netip.AddrFromSlice(k[unix.IFNAMSIZ+8:])
	return p, ok
}

// make replaces the table by the whole ruleset, with nothing in between.
func (r ruleset) make(c *nftables.Conn, sets map[string][]nftables.SetElement) error {
	t := &nftables.Table{Name: tableName, Family: r.family}
	c.AddTable(t) // so that there is one to delete
	c.DelTable(t)
	c.AddTable(t)
	for _, name := range []string{setPorts, setMACs} {
		if e, has := sets[name]; has {
			if err := c.AddSet(setOf(t, name), e); err != nil {
				return err
			}
		}
	}
	for _, x := range r.chains {
		ch := c.AddChain(&nftables.Chain{Name: x.name, Table: t, Type: x.kind, Hooknum: x.hook, Priority: x.prio})
		for _, y := range x.rules {
			c.AddRule(&nftables.Rule{Table: t, Chain: ch, Exprs: y.exprs, UserData: userdata.AppendString(nil, userdata.TypeComment, y.comment)})
		}
	}
	return nil
}

// whole tells whether all the ruleset's rules are there, in their order.
func (r ruleset) whole(c *nftables.Conn) (bool, error) {
	t := &nftables.Table{Name: tableName, Family: r.family}
	chains, err := c.ListChainsOfTableFamily(r.family)
	if err != nil {
		return false, err
	}
	for _, x := range r.chains {
		i := slices.IndexFunc(chains, func(ch *nftables.Chain) bool { return ch.Table.Name == tableName && ch.Name == x.name })
		if i < 0 || (chains[i].Hooknum == nil) != (x.hook == nil) {
			return false, nil
		}
		rules, err := c.GetRules(t, chains[i])
		if err != nil {
			return false, err
		}
		same := slices.EqualFunc(rules, x.rules, func(a *nftables.Rule, b rule) bool {
			s, ok := userdata.GetString(a.UserData, userdata.TypeComment)
			return ok && s == b.comment
		})
		if !same {
			return false, nil
		}
	}
	return true, nil
}

func makeRules(ns netns.NsHandle, ports []network.PortRule) error {
	return transaction(ns, func(c *nftables.Conn) error {
		return errors.Join(
			bridgeRules().make(c, map[string][]nftables.SetElement{setPorts: elements(setPorts, ports), setMACs: elements(setMACs, ports)}),
			hostRules().make(c, nil),
		)
	})
}

func makeRouterRules(ns netns.NsHandle) error {
	return transaction(ns, func(c *nftables.Conn) error { return routerRules().make(c, nil) })
}

// changeRules changes the sets. To add what is there, and to delete what is not,
// changes nothing.
func changeRules(ns netns.NsHandle, add, del []network.PortRule) error {
	have, err := observeRules(ns)
	if err != nil {
		return err
	}
	del = slices.DeleteFunc(slices.Clone(del), func(p network.PortRule) bool { return !have.Ports[p] })
	type tapMAC struct {
		tap string
		mac [6]byte
	}
	still := map[tapMAC]bool{} // a port with two addresses has its MAC once
	for p := range have.Ports {
		if !slices.Contains(del, p) {
			still[tapMAC{p.Tap, p.MAC}] = true
		}
	}
	for _, p := range add {
		still[tapMAC{p.Tap, p.MAC}] = true
	}
	noMAC := slices.DeleteFunc(slices.Clone(del), func(p network.PortRule) bool { return still[tapMAC{p.Tap, p.MAC}] })
	return transaction(ns, func(c *nftables.Conn) error {
		t := bridgeTable()
		for _, x := range []struct {
			set      string
			add, del []network.PortRule
		}{{setPorts, add, del}, {setMACs, add, noMAC}} {
			if len(x.del) > 0 {
				if err := c.SetDeleteElements(setOf(t, x.set), elements(x.set, x.del)); err != nil {
					return err
				}
			}
			if len(x.add) > 0 {
				if err := c.SetAddElements(setOf(t, x.set), elements(x.set, x.add)); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func removeRules(ns netns.NsHandle) error {
	return transaction(ns, func(c *nftables.Conn) error {
		for _, f := range []nftables.TableFamily{nftables.TableFamilyBridge, nftables.TableFamilyINet} {
			t := &nftables.Table{Name: tableName, Family: f}
			c.AddTable(t) // so that there is one to delete
			c.DelTable(t)
		}
		return nil
	})
}

// observeRules reads the host's rules.
func observeRules(ns netns.NsHandle) (r network.HostRules, err error) {
	r.Ports = network.Set[network.PortRule]{}
	c, err := tables(ns)
	if err != nil {
		return r, fmt.Errorf("open nftables: %w", err)
	}
	defer func() { err = errors.Join(err, c.CloseLasting()) }()
	r.Whole = true
	for _, x := range []ruleset{bridgeRules(), hostRules()} {
		whole, err := x.whole(c)
		if err != nil {
			return r, fmt.Errorf("list rules: %w", err)
		}
		r.Whole = r.Whole && whole
	}
	there, err := c.ListTablesOfFamily(nftables.TableFamilyBridge)
	if err != nil {
		return r, fmt.Errorf("list tables: %w", err)
	}
	if !slices.ContainsFunc(there, func(t *nftables.Table) bool { return t.Name == tableName }) {
		return r, nil
	}
	set, err := c.GetSetByName(bridgeTable(), setPorts)
	if errors.Is(err, unix.ENOENT) {
		r.Whole = false
		return r, nil
	}
	if err != nil {
		return r, fmt.Errorf("read the set of ports: %w", err)
	}
	es, err := c.GetSetElements(set)
	if err != nil {
		return r, fmt.Errorf("read the set of ports: %w", err)
	}
	for _, e := range es {
		if p, ok := portOf(e.Key); ok {
			r.Ports[p] = true
		}
	}
	return r, nil
}

func wholeRouterRules(ns netns.NsHandle) (bool, error) {
	c, err := tables(ns)
	if err != nil {
		return false, fmt.Errorf("open nftables: %w", err)
	}
	whole, err := routerRules().whole(c)
	return whole, errors.Join(err, c.CloseLasting())
}
