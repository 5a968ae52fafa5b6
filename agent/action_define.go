package agent

import "context"

// Define makes or changes a domain's definition.
type Define struct {
	target
	Spec DomainSpec
}

// Do implements Action.
func (a Define) Do(ctx context.Context, d Drivers) error { return d.Hypervisor.Define(ctx, a.Spec) }
func (a Define) String() string                          { return a.Instance + ": define" }
func (a Define) breaks() (string, string)                { return Running, "DefineFailed" }

// Undefine removes a domain's definition.
type Undefine struct{ target }

// Do implements Action.
func (a Undefine) Do(ctx context.Context, d Drivers) error {
	return d.Hypervisor.Undefine(ctx, a.Instance)
}
func (a Undefine) String() string           { return a.Instance + ": undefine" }
func (a Undefine) breaks() (string, string) { return Running, "UndefineFailed" }
