package agent

import "context"

// Action is one step towards the desired state. It leaves no choice to its
// execution, it may be done again, and it may fail.
type Action interface {
	Do(ctx context.Context, d Drivers) error
	// String makes plans readable.
	String() string
	// Target is the instance that the action is about; "" for the host. Actions
	// of one target are done in order, and the first that fails ends them.
	Target() string
}

// judged is implemented by actions whose failure a tenant sees in a condition.
type judged interface {
	// breaks names the condition and the reason.
	breaks() (condition, reason string)
}

// remembered is implemented by actions that leave something to remember: from
// before they are done, because what they cause may be seen before they return,
// until they fail.
type remembered interface {
	remember(m Memory) Memory
	forget(m Memory) Memory
}

// light is implemented by actions that wait for others rather than work: they
// do not count against the number of actions that run at once.
type light interface{ light() }

// networked is implemented by actions that need the network as it was planned.
type networked interface{ networked() }

// target is embedded by the actions of an instance.
type target struct{ Instance string }

// Target implements Action.
func (t target) Target() string { return t.Instance }
