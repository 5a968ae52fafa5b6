package api_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"

	"github.com/cairn-cloud/cairn/api"
)

// An action is a change of the spec like any other: it leaves a valid object,
// and nothing but the spec is touched.
func TestActions_changeOnlyTheSpec(t *testing.T) {
	for _, k := range api.Kinds {
		for _, a := range k.Actions {
			o, _ := example(t, k)
			if i, ok := o.(*api.Instance); ok {
				i.Placement.Target = nil // what is being moved already is refused
			}
			before := api.Clone(o)
			var in any
			if a.Input != nil {
				in = reflect.New(reflect.TypeOf(a.Input).Elem()).Interface()
				if h, ok := o.(*api.Host); ok {
					if err := json.Unmarshal([]byte(`{"orphan":"`+h.Status.Orphans[0].ID+`"}`), in); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := a.Apply(o, in); err != nil {
				t.Errorf("%s %s: %v", k.Name, a.Name, err)
				continue
			}
			if err := o.Validate(); err != nil {
				t.Errorf("%s %s leaves a wrong object: %v", k.Name, a.Name, err)
			}
			if !reflect.DeepEqual(o.GetMeta(), before.GetMeta()) || !reflect.DeepEqual(o.StatusPtr(), before.StatusPtr()) {
				t.Errorf("%s %s changes more than the spec", k.Name, a.Name)
			}
		}
	}
}

func act(t *testing.T, i *api.Instance, action string) error {
	t.Helper()
	k, _ := api.KindByName(api.KindInstance)
	for _, a := range k.Actions {
		if a.Name != action {
			continue
		}
		var in any
		if a.Input != nil {
			in = reflect.New(reflect.TypeOf(a.Input).Elem()).Interface()
		}
		return a.Apply(i, in)
	}
	t.Fatalf("no action %s", action)
	return nil
}

func TestInstance_rebootNeedsPower(t *testing.T) {
	i := &api.Instance{}
	i.Default()
	if err := act(t, i, "reboot"); err != nil || i.Spec.Reboots != 1 {
		t.Fatalf("a reboot of a running instance: %v, %d reboots", err, i.Spec.Reboots)
	}
	if err := act(t, i, "stop"); err != nil || i.Spec.Power != api.PowerOff {
		t.Fatalf("stop: %v, power %s", err, i.Spec.Power)
	}
	var p *api.Problem
	if err := act(t, i, "reboot"); !errors.As(err, &p) || p.Status != 409 || p.Code != "instance_is_off" || p.Hint == "" {
		t.Errorf("a reboot of a stopped instance: %v", err)
	}
	if i.Spec.Reboots != 1 {
		t.Error("the refused reboot was counted")
	}
	if err := act(t, i, "start"); err != nil || i.Spec.Power != api.PowerOn {
		t.Errorf("start: %v, power %s", err, i.Spec.Power)
	}
}

func TestOperationOf_saysHowFarItIs(t *testing.T) {
	for _, c := range []struct {
		name     string
		observed int64
		state    api.State
		deleting bool
		want     api.State
	}{
		{"nothing done yet", 0, "", false, api.StatePending},
		{"waits for a host", 0, api.StatePending, false, api.StatePending},
		{"an old generation is observed", 1, api.StateRunning, false, api.StateRunning},
		{"being prepared", 2, api.StateStarting, false, api.StateRunning},
		{"there", 2, api.StateRunning, false, api.StateReady},
		{"stopped is there too", 2, api.StateStopped, false, api.StateReady},
		{"failed", 2, api.StateFailed, false, api.StateFailed},
		{"deleting", 2, api.StateRunning, true, api.StateRunning},
	} {
		i := &api.Instance{}
		i.ID, i.Generation = "ins_x", 2
		i.Status.State, i.Status.ObservedGeneration = c.state, c.observed
		if c.deleting {
			i.DeletedAt = &i.CreatedAt
		}
		op := api.OperationOf(i)
		if op.Status.State != c.want {
			t.Errorf("%s: the operation is %s, want %s", c.name, op.Status.State, c.want)
		}
		wantID := "op_ins_x_2"
		if c.deleting {
			wantID = "op_ins_x_0"
		}
		if op.ID != wantID {
			t.Errorf("%s: its ID is %s, want %s", c.name, op.ID, wantID)
		}
	}
}

func TestSetCondition_keepsItsTimeWhileNothingChanges(t *testing.T) {
	o, _ := example(t, mustKind(t, api.KindHost))
	s := o.StatusPtr().GetStatus()
	since := s.Conditions[0].Since
	c := s.Conditions[0]
	c.Since, c.Message = since.AddDate(1, 0, 0), "other words"
	s.SetCondition(c)
	if got := s.Condition("Ready"); !got.Since.Equal(since) || got.Message != "other words" {
		t.Errorf("an unchanged condition became %+v", got)
	}
	c.OK = false
	s.SetCondition(c)
	if got := s.Condition("Ready"); got.Since.Equal(since) || len(s.Conditions) != 1 {
		t.Errorf("a changed condition became %+v", got)
	}
	s.SetCondition(api.Condition{Type: "Other"})
	if len(s.Conditions) != 2 || s.Condition("None") != nil {
		t.Errorf("conditions: %+v", s.Conditions)
	}
}

func mustKind(t *testing.T, name string) api.Kind {
	t.Helper()
	k, ok := api.KindByName(name)
	if !ok {
		t.Fatalf("no kind %s", name)
	}
	return k
}
