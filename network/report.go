package network

import (
	"fmt"
	"slices"
	"strings"
)

// Report is a host's network in words: what it is to be and what it is, a line
// for each link, entry, address, route, setting, rule and element, sorted; and
// what of it differs.
type Report struct {
	Desired []string
	Actual  []string
	Drift   []Difference
}

// Look reports on what there is beside what is wanted.
func Look(want Desired, have Observed) Report {
	l := lay(want, have)
	p := reporter{rules: map[string]string{}, want: l.State}
	for _, tables := range l.tables {
		for _, t := range tables {
			for _, c := range t.Chains {
				for _, r := range c.Rules {
					p.rules[r.Digest()] = r.String()
				}
			}
		}
	}
	return Report{Desired: p.lines(l.State), Actual: p.lines(have.State), Drift: Differences(have, Plan(want, have))}
}

type reporter struct {
	rules map[string]string // by digest
	want  State
}

func (p reporter) lines(s State) []string {
	out := p.space("host", s.Host, p.want.Host)
	for name, r := range s.Routers {
		out = append(out, p.space(name, r, p.want.Routers[name])...)
	}
	slices.Sort(out)
	return out
}

func (p reporter) space(where string, s, want Space) (out []string) {
	say := func(format string, args ...any) { out = append(out, where+": "+fmt.Sprintf(format, args...)) }
	for name, l := range s.Links {
		if w, wanted := want.Links[name]; wanted { // what may be whatever it is, is not said
			if w.MTU == 0 {
				l.MTU = 0
			}
			if w.MAC == (MAC{}) {
				l.MAC = MAC{}
			}
		}
		say("link %s", l)
	}
	for k, to := range s.Forwards {
		say("forward %s to %s on %s", k.MAC, to, k.Bridge)
	}
	for k, host := range s.Tunnels {
		say("tunnel %s to %s by %s", k.MAC, host, k.Link)
	}
	for k, mac := range s.Neighbours {
		say("neighbour %s is %s on %s", k.Address, mac, k.Link)
	}
	for k := range s.Proxies {
		say("answer for %s on %s", k.Address, k.Link)
	}
	for k := range s.Addresses {
		say("address %s of %s", k.Address, k.Link)
	}
	for to, r := range s.Routes {
		say("route %s %s", to, r)
	}
	for k, v := range s.Settings {
		if _, wanted := want.Settings[k]; !wanted {
			continue // it is looked at because it was changed once
		}
		say("setting %s is %s", k.File, v)
	}
	for link, rate := range s.Rates {
		if rate == NoQueue {
			continue
		}
		say("rate of %s is %s", link, rateText(rate))
	}
	for link, to := range s.Detours {
		say("detour of %s by %s", link, to)
	}
	for k, t := range s.Tables {
		chain, n := "", 0
		for line := range strings.Lines(t.Skeleton) {
			line = strings.TrimRight(line, "\n")
			digest, isRule := strings.CutPrefix(line, "  ")
			if !isRule {
				chain, n = strings.Join(strings.Fields(line)[:2], " "), 0
				say("%s: %s", tableField(k), line)
				continue
			}
			n++
			rule, known := p.rules[digest]
			if !known {
				rule = "one that is not Cairn's"
			}
			say("%s: %s rule %02d: %s", tableField(k), chain, n, rule)
		}
		for set, elements := range t.Sets {
			for e := range elements {
				say("%s: set %s has %s", tableField(k), set, e)
			}
		}
	}
	return out
}

// String says what differs from one link of its kind to another.
func (l Link) String() string {
	s := fmt.Sprintf("%s: %s", l.Name, l.Kind)
	if l.MTU != 0 {
		s += fmt.Sprintf(" mtu %d", l.MTU)
	}
	if l.MAC != (MAC{}) {
		s += " mac " + l.MAC.String()
	}
	if l.Tunnel != (Tunnel{}) {
		s += fmt.Sprintf(" vni %d local %s", l.Tunnel.VNI, l.Tunnel.Local)
	}
	for _, x := range []struct{ word, name string }{{"on", l.Bridge}, {"to", l.Peer}} {
		if x.name != "" {
			s += " " + x.word + " " + x.name
		}
	}
	for _, x := range []struct {
		is   bool
		word string
	}{{l.Port.Learning, "learning"}, {l.Port.Flood, "flooding"}, {l.Port.Hairpin, "hairpin"}, {l.Filtered, "filtered"}, {!l.Up, "off"}} {
		if x.is {
			s += " " + x.word
		}
	}
	return s
}
