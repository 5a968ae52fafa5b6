package agent

import (
	"context"
	"time"

	"github.com/cairn-cloud/cairn/api"
)

// Define makes or changes a domain's definition.
type Define struct {
	target
	Spec  DomainSpec
	Mends []api.Drift // what another hand has changed; none where something else is wanted than before
	At    time.Time
}

// Do implements Action.
func (a Define) Do(ctx context.Context, d Drivers) error { return d.Hypervisor.Define(ctx, a.Spec) }

func (a Define) String() string {
	if len(a.Mends) > 0 {
		return a.Instance + ": mend the definition: " + describe(a.Mends)
	}
	return a.Instance + ": define"
}
func (a Define) breaks() (string, string) { return Running, "DefineFailed" }
func (a Define) repairs() []api.Drift     { return a.Mends }

func (a Define) remember(m Memory) Memory {
	if len(a.Mends) > 0 {
		m.MendNotBefore = a.At.Add(mendEvery)
	}
	return m
}
func (a Define) forget(m Memory) Memory { return m }

// Undefine removes a domain's definition.
type Undefine struct{ target }

// Do implements Action.
func (a Undefine) Do(ctx context.Context, d Drivers) error {
	return d.Hypervisor.Undefine(ctx, a.Instance)
}
func (a Undefine) String() string           { return a.Instance + ": undefine" }
func (a Undefine) breaks() (string, string) { return Running, "UndefineFailed" }
