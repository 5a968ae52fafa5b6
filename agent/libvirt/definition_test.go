package libvirt

import (
	"reflect"
	"testing"

	lv "libvirt.org/go/libvirt"

	"github.com/cairn-cloud/cairn/agent"
)

// byHand calls libvirt as virsh would, beside the agent.
func (d *daemon) byHand(instance string, f func(c *lv.Connect, d *lv.Domain) error) {
	d.t.Helper()
	c, err := lv.NewConnect(d.uri())
	if err != nil {
		d.t.Fatal(err)
	}
	defer func() { _, _ = c.Close() }()
	dom, err := c.LookupDomainByName(instance)
	if err != nil {
		d.t.Fatal(err)
	}
	defer func() { _ = dom.Free() }()
	if err := f(c, dom); err != nil {
		d.t.Fatal(err)
	}
}

// What is read back of a domain is what was defined: nothing else may look as if
// another hand had changed it.
func TestDomains_readBackWhatWasDefined(t *testing.T) {
	l := agent.Layout(t.TempDir())
	d := newDaemon(t)
	h := d.open(l)
	ev := listen(t, h)
	s := makeSpec(t, l, "ins_a", buttonGuest)
	define(t, h, s)
	want := s
	want.Mark = agent.Mark{}
	if x := one(t, h); x.Config == nil || !reflect.DeepEqual(*x.Config, want) || x.Live != nil {
		t.Errorf("stopped, it reads\n%+v\nwant\n%+v", x.Config, want)
	}
	twice(t, "start", h.Start, "ins_a")
	ev.until("ins_a", agent.EventStarted)
	if x := one(t, h); x.Live == nil || !reflect.DeepEqual(*x.Live, want) || !reflect.DeepEqual(*x.Config, want) || x.Transient {
		t.Errorf("running, it reads\n%+v\nwant\n%+v", x.Live, want)
	}
	t.Run("changed by another hand", func(t *testing.T) {
		d.byHand("ins_a", func(c *lv.Connect, dom *lv.Domain) error {
			more := s
			more.MemoryMiB, more.Title = 128, "hacked"
			x, err := domainXML(more, machine{directIO: directIO})
			if err != nil {
				return err
			}
			_, err = c.DomainDefineXML(x)
			return err
		})
		ev.until("ins_a", agent.EventChanged)
		if x := one(t, h); x.Config.MemoryMiB != 128 || x.Config.Title != "hacked" || x.Live.MemoryMiB != 64 {
			t.Errorf("it reads %+v and %+v", x.Config, x.Live)
		}
	})
	t.Run("suspended by another hand", func(t *testing.T) {
		d.byHand("ins_a", func(_ *lv.Connect, dom *lv.Domain) error { return dom.Suspend() })
		ev.until("ins_a", agent.EventChanged)
		if x := one(t, h); x.State != agent.DomainPaused {
			t.Errorf("it is %s", x.State)
		}
		twice(t, "resume", h.Resume, "ins_a")
		if x := one(t, h); x.State != agent.DomainRunning {
			t.Errorf("it is %s", x.State)
		}
	})
	t.Run("undefined by another hand", func(t *testing.T) {
		d.byHand("ins_a", func(_ *lv.Connect, dom *lv.Domain) error { return dom.Undefine() })
		ev.until("ins_a", agent.EventChanged)
		if x := one(t, h); !x.Transient || x.State != agent.DomainRunning {
			t.Errorf("it is %+v", x)
		}
		define(t, h, s)
		if x := one(t, h); x.Transient || !reflect.DeepEqual(*x.Config, want) {
			t.Errorf("it is %+v", x)
		}
	})
	twice(t, "suspend", h.Suspend, "ins_a")
	if x := one(t, h); x.State != agent.DomainPaused {
		t.Errorf("it is %s", x.State)
	}
}
