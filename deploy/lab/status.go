package lab

import (
	"context"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/api/client"
)

// MachineStatus is what is seen of a machine of the lab.
type MachineStatus struct {
	Name    string
	PID     int    // of its first process; 0 when it does not run
	Address string // on the fabric
	State   string // of the host, as the cloud sees it; of the controller, whether it answers
}

// Status looks at the lab's machines. It is empty where there is no lab.
func (l *Lab) Status(ctx context.Context) ([]MachineStatus, error) {
	if !l.known {
		return nil, nil
	}
	hosts, err := l.hosts()
	if err != nil {
		return nil, err
	}
	var all []MachineStatus
	for n := range len(l.Servers()) {
		all = append(all, MachineStatus{Name: controllerName(n + 1), Address: l.plan.address(n + 1).String(), State: "unknown"})
	}
	for _, n := range hosts {
		all = append(all, MachineStatus{Name: hostName(n), Address: l.plan.address(10 + n).String(), State: "unknown"})
	}
	states, answers := l.states(ctx)
	for i := range all {
		m := &all[i]
		if m.PID, err = l.PID(m.Name); err != nil {
			return nil, err
		}
		if s, ok := states[m.Name]; ok {
			m.State = string(s)
		}
	}
	if all[0].State = "silent"; answers {
		all[0].State = "answers"
	}
	return all, nil
}

// states asks the cloud for the states of its hosts.
func (l *Lab) states(ctx context.Context) (out map[string]api.State, answers bool) {
	c, err := l.client()
	if err != nil {
		return nil, false
	}
	defer c.Close()
	k, _ := api.KindByName(api.KindHost)
	hosts, _, err := c.ListAll(ctx, k, client.ListOptions{})
	if err != nil {
		return nil, false
	}
	out = map[string]api.State{}
	for _, h := range hosts {
		out[h.GetMeta().Name] = h.StatusPtr().GetStatus().State
	}
	return out, true
}
