package sim

import (
	"time"

	"github.com/cairn-cloud/cairn/agent"
)

// watchdogTimeout and rebootTime are those of all machines.
const (
	watchdogTimeout = 30 * time.Second
	rebootTime      = 20 * time.Second
)

// dog is a machine's watchdog in the hands of one life of its agent.
type dog struct {
	*machine
	l *life
}

// watchdog is what the agent of the machine gets: every other machine has one.
func (m *machine) watchdog(l *life) agent.Watchdog {
	if m.number%2 == 0 {
		return dog{m, l}
	}
	return nil
}

// step waits for the agent's turn: one that stands still pets nothing.
func (d dog) step(what string) error {
	_, err := d.w.pass(d.l.ctx, d.l, d.name, "", what)
	return err
}

// Arm implements agent.Watchdog.
func (d dog) Arm() error {
	if err := d.step("arm"); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.petted = time.Now(); !d.armed {
		d.armed = true
		d.watch(watchdogTimeout)
	}
	return nil
}

// watch looks after a time whether the agent has petted the dog. The lock is held.
func (m *machine) watch(in time.Duration) {
	m.w.after(in, "watchdog of "+m.name, func() {
		m.mu.Lock()
		left := time.Until(m.petted.Add(watchdogTimeout))
		bites := m.armed && left <= 0
		if m.armed && !bites {
			m.watch(left)
		}
		m.mu.Unlock()
		if bites {
			m.w.trace.add("the watchdog resets %s", m.name)
			m.powerOff()
			m.w.after(rebootTime, m.name+" comes up", func() {
				if !m.w.closing.Load() && !m.w.powerless(m.name) {
					m.powerOn()
				}
			})
		}
	})
}

// Pet implements agent.Watchdog.
func (d dog) Pet() error {
	if err := d.step("pet"); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.petted = time.Now()
	return nil
}

// Disarm implements agent.Watchdog.
func (d dog) Disarm() error {
	if d.l.dead() {
		return errDead // a crash
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.armed = false
	return nil
}

// Leave implements agent.Watchdog.
func (d dog) Leave() error { return nil }

// Timeout implements agent.Watchdog.
func (d dog) Timeout() time.Duration { return watchdogTimeout }
