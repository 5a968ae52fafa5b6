package network

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// made is a host on which blue is as it is wanted.
func made(t *testing.T) *model {
	t.Helper()
	m := newModel()
	for _, op := range Plan(blue(), m.Observed) {
		if err := m.do(op); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func TestDifferences_tellWhatAnotherHandHasDone(t *testing.T) {
	tap := Tap("prt_aaaaaaaaaaaa")
	for name, c := range map[string]struct {
		by   func(m *model)
		want []string
	}{
		"nothing":             {func(*model) {}, nil},
		"a tap went":          {func(m *model) { m.remove("", tap) }, []string{"[" + tap + "] link " + tap + ": absent, not there"}},
		"a tap's MTU":         {func(m *model) { l := m.Host.Links[tap]; l.MTU = 1280; m.Host.Links[tap] = l }, []string{"[" + tap + "] link " + tap + " mtu: 1280, not 1500"}},
		"a tap is off":        {func(m *model) { l := m.Host.Links[tap]; l.Up = false; m.Host.Links[tap] = l }, []string{"[" + tap + "] link " + tap + " state: down, not up"}},
		"a table was flushed": {func(m *model) { delete(m.Host.Tables, guardKey) }, []string{"[] table bridge cairn: absent, not there"}},
		"a tap of nobody": {
			func(m *model) {
				m.Host.Links["ctzzzzzzzzzzzz"] = Link{Name: "ctzzzzzzzzzzzz", Kind: KindTap, Alias: Mark}
			},
			[]string{"[ctzzzzzzzzzzzz] link ctzzzzzzzzzzzz: there, not absent"},
		},
		"a router went": {
			func(m *model) {
				delete(m.Routers, Namespace(42))
				m.remove("", GatewayCable(42))
				m.remove("", UplinkCable(42))
			},
			[]string{"[] namespace " + Namespace(42) + ": absent, not there", "[cg00002a] link cg00002a: absent, not there", "[cu00002a] link cu00002a: absent, not there"},
		},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			m := made(t)
			c.by(m)
			var got []string
			for _, d := range Differences(m.Observed, Plan(blue(), m.Observed)) {
				got = append(got, "["+d.Link+"] "+d.Field+": "+d.Is+", not "+d.Want)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("it tells\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

// Every op of every plan is told, or goes with something that is.
func TestDifferences_ofAnEmptyHostNameAllThatHangsOnNothing(t *testing.T) {
	m := newModel()
	told := map[string]bool{}
	for _, d := range Differences(m.Observed, Plan(blue(), m.Observed)) {
		if told[d.Field] {
			t.Errorf("%s is told twice", d.Field)
		}
		told[d.Field] = true
	}
	for l := range maps.Keys(made(t).Host.Links) {
		if strings.HasPrefix(l, "c") && !told["link "+l] && l != UplinkCable(42) && l != GatewayCable(42) {
			t.Errorf("nothing is told of %s: %v", l, slices.Sorted(maps.Keys(told)))
		}
	}
}
