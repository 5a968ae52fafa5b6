package network

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestLook_golden(t *testing.T) {
	want, m := blue(), newModel()
	want.Networks[0].Ports[0].Limits = Limits{ToGuest: Megabit, FromGuest: 8 * Megabit}
	for _, op := range Plan(want, m.Observed) {
		if err := m.do(op); err != nil {
			t.Fatal(err)
		}
	}
	r := Look(want, m.Observed)
	if !slices.Equal(r.Desired, r.Actual) || len(r.Drift) > 0 {
		t.Errorf("there is a difference: %q\n%s", r.Drift, strings.Join(r.Actual, "\n"))
	}
	golden(t, "report", strings.Join(r.Desired, "\n")+"\n")
	delete(m.Host.Rates, "ctaaaaaaaaaaaa")
	m.Routers["cairn-00002a"].Addresses[AddressKey{GatewayLink, netip.MustParsePrefix("10.9.9.9/32")}] = true
	r = Look(want, m.Observed)
	only := func(a, b []string) []string {
		return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
	}
	if got := only(r.Desired, r.Actual); !slices.Equal(got, []string{"host: rate of ctaaaaaaaaaaaa is 1 Mbit/s"}) {
		t.Errorf("there lacks %q", got)
	}
	if got := only(r.Actual, r.Desired); !slices.Equal(got, []string{"cairn-00002a: address 10.9.9.9/32 of gw"}) {
		t.Errorf("there is more %q", got)
	}
	if len(r.Drift) != 2 {
		t.Errorf("the drift is %+v", r.Drift)
	}
}

// What is wanted and what there is are the same lines just when there is nothing to do.
func TestLook_saysWhatAPlanPutsRight(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newModel()
		want := desiredStates().Draw(t, "first")
		reaches(t, m, want)
		if r := Look(want, m.Observed); len(want.Networks) > 0 && (!slices.Equal(r.Desired, r.Actual) || len(r.Drift) > 0) {
			t.Fatalf("where nothing is to be done there is\n%s\nand not\n%s\nbut %+v", strings.Join(r.Actual, "\n"), strings.Join(r.Desired, "\n"), r.Drift)
		}
	})
}
