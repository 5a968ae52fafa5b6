package linux

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/cairn-cloud/cairn/network"
)

// socketBuffer holds a large transaction or dump, in bytes.
const socketBuffer = 8 << 20

// patience is for the kernel's answers, which come at once or never.
const patience = time.Minute

// rules speaks nftables in a namespace.
type rules struct {
	*nftables.Conn
	raw *netlink.Conn
}

// rules opens nftables for as long as do takes.
func (s *space) rules(do func(*rules) error) (err error) {
	r := &rules{}
	r.Conn, err = nftables.New(nftables.WithNetNSFd(int(s.ns)), nftables.AsLasting(), nftables.WithSockOptions(func(c *netlink.Conn) error {
		r.raw = c
		return errors.Join(c.SetReadBuffer(socketBuffer), c.SetWriteBuffer(socketBuffer), c.SetDeadline(time.Now().Add(patience)))
	}))
	if err != nil {
		return fmt.Errorf("open nftables: %w (load the module nf_tables)", err)
	}
	return errors.Join(do(r), r.CloseLasting())
}

var families = map[network.Family]nftables.TableFamily{
	network.FamilyBridge: nftables.TableFamilyBridge,
	network.FamilyInet:   nftables.TableFamilyINet,
}

func tableOf(k network.TableKey) *nftables.Table {
	return &nftables.Table{Name: k.Name, Family: families[k.Family]}
}

// hooks have the same numbers in both families.
var hooks = []string{"prerouting", "input", "forward", "output", "postrouting"}

var policies = []string{nftables.ChainPolicyDrop: "drop", nftables.ChainPolicyAccept: "accept"}

// put makes a table anew in one transaction: there is no moment without it.
func (r *rules) put(t network.Table) error {
	table := tableOf(t.TableKey)
	r.AddTable(table) // so that there is one to remove
	r.DelTable(table)
	r.AddTable(table)
	for _, s := range t.Sets {
		set := setOf(table, s.SetType)
		if err := r.AddSet(set, nil); err != nil {
			return err
		}
		elements := make([]string, 0, len(s.Elements))
		for e := range s.Elements {
			elements = append(elements, e)
		}
		if err := inParts(s.SetType, elements, func(e []nftables.SetElement) error { return r.SetAddElements(set, e) }); err != nil {
			return err
		}
	}
	chains := make([]*nftables.Chain, len(t.Chains))
	for i, c := range t.Chains {
		chains[i] = r.AddChain(chainOf(table, c))
	}
	for i, c := range t.Chains {
		for _, rule := range c.Rules {
			e, err := compile(t.Family, rule)
			if err != nil {
				return fmt.Errorf("compile %q: %w", rule, err)
			}
			r.AddRule(&nftables.Rule{Table: table, Chain: chains[i], Exprs: e, UserData: userdata.AppendString(nil, userdata.TypeComment, rule.Digest())})
		}
	}
	return r.Flush()
}

func chainOf(t *nftables.Table, c network.Chain) *nftables.Chain {
	x := &nftables.Chain{Table: t, Name: c.Name}
	if c.Hook == "" {
		return x
	}
	policy := nftables.ChainPolicy(slices.Index(policies, c.Policy))
	x.Type, x.Policy = nftables.ChainType(c.Type), &policy
	x.Hooknum = nftables.ChainHookRef(nftables.ChainHook(slices.Index(hooks, c.Hook)))
	x.Priority = nftables.ChainPriorityRef(nftables.ChainPriority(c.Priority))
	return x
}

func (r *rules) remove(k network.TableKey) error {
	r.AddTable(tableOf(k)) // so that there is one to remove
	r.DelTable(tableOf(k))
	return r.Flush()
}

// change takes elements out of a set, and puts others in, in one transaction.
func (r *rules) change(k network.TableKey, s network.SetType, gone, added []string) error {
	set := setOf(tableOf(k), s)
	err := inParts(s, gone, func(e []nftables.SetElement) error {
		if err := r.SetAddElements(set, e); err != nil { // so that they are there to remove
			return err
		}
		return r.SetDeleteElements(set, e)
	})
	if err != nil {
		return err
	}
	if err := inParts(s, added, func(e []nftables.SetElement) error { return r.SetAddElements(set, e) }); err != nil {
		return err
	}
	return r.Flush()
}

// observe reads the tables of ours.
func (r *rules) observe(into map[network.TableKey]network.TableState) error {
	for name, family := range families {
		tables, err := r.ListTablesOfFamily(family)
		if err != nil {
			return fmt.Errorf("list tables: %w", err)
		}
		if !slices.ContainsFunc(tables, func(t *nftables.Table) bool { return t.Name == network.Mark }) {
			continue
		}
		k := network.TableKey{Family: name, Name: network.Mark}
		t, err := r.observeTable(k)
		for tries := 0; errors.Is(err, unix.ENOENT) && tries < 5; tries++ { // another hand changes it
			t, err = r.observeTable(k)
		}
		switch {
		case errors.Is(err, unix.ENOENT): // has removed it
		case err != nil:
			return fmt.Errorf("read table %s %s: %w", k.Family, k.Name, err)
		default:
			into[k] = t
		}
	}
	return nil
}

func (r *rules) observeTable(k network.TableKey) (t network.TableState, err error) {
	t.Sets = map[string]map[string]bool{}
	found, err := r.GetSets(tableOf(k))
	if err != nil {
		return t, err
	}
	var sets []network.Set
	for _, s := range found {
		x := network.SetType{Name: s.Name, Types: strings.Split(s.KeyType.Name, " . "), Interval: s.Interval}
		if s.IsMap {
			x.Data = s.DataType.Name
		}
		sets = append(sets, network.Set{SetType: x})
		if t.Sets[s.Name], err = r.observeSet(s, x); err != nil {
			return t, fmt.Errorf("set %s: %w", s.Name, err)
		}
	}
	chains, err := r.ListChainsOfTableFamily(families[k.Family])
	if err != nil {
		return t, err
	}
	digests, err := r.digests(k)
	if err != nil {
		return t, err
	}
	var own []network.Chain
	for _, c := range chains {
		if c.Table.Name == k.Name {
			own = append(own, observedChain(c))
		}
	}
	t.Skeleton = network.Skeleton(sets, own, func(c network.Chain) []string { return digests[c.Name] })
	return t, nil
}

func observedChain(c *nftables.Chain) network.Chain {
	x := network.Chain{Name: c.Name}
	if c.Hooknum == nil || c.Priority == nil || c.Policy == nil {
		return x
	}
	x.Type, x.Priority = string(c.Type), int(*c.Priority)
	if h := int(*c.Hooknum); h < len(hooks) {
		x.Hook = hooks[h]
	}
	if p := int(*c.Policy); p < len(policies) {
		x.Policy = policies[p]
	}
	return x
}

// digests reads the comments of a table's rules, by chain. The expressions of
// the rules are left alone: what another hand may have put there need not be
// understood to be seen.
func (r *rules) digests(k network.TableKey) (map[string][]string, error) {
	table, err := netlink.MarshalAttributes([]netlink.Attribute{{Type: unix.NFTA_RULE_TABLE, Data: []byte(k.Name + "\x00")}})
	if err != nil {
		return nil, err
	}
	msgs, err := r.raw.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETRULE, Flags: netlink.Request | netlink.Dump},
		Data:   append([]byte{byte(families[k.Family]), unix.NFNETLINK_V0, 0, 0}, table...),
	})
	if err != nil {
		return nil, err
	}
	out := map[string][]string{}
	for _, m := range msgs {
		if len(m.Data) < 4 {
			continue
		}
		attrs, err := netlink.UnmarshalAttributes(m.Data[4:])
		if err != nil {
			return nil, err
		}
		var chain, digest string
		for _, a := range attrs {
			switch a.Type {
			case unix.NFTA_RULE_CHAIN:
				chain = strings.TrimRight(string(a.Data), "\x00")
			case unix.NFTA_RULE_USERDATA:
				digest = comment(a.Data)
			}
		}
		out[chain] = append(out[chain], digest)
	}
	return out, nil
}

// comment finds the comment in what userspace has attached to a rule.
func comment(b []byte) string {
	for len(b) >= 2 && len(b) >= 2+int(b[1]) {
		if userdata.Type(b[0]) == userdata.TypeComment {
			return strings.TrimRight(string(b[2:2+int(b[1])]), "\x00")
		}
		b = b[2+int(b[1]):]
	}
	return ""
}
