package torture

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/api/client"
)

// input is a call about the object of a name. Every value is written once, so
// that an ETag is as good as the value that it was read with.
type input struct {
	op, name, value string
	condition       string // the value that it must have, by If-Match; "": any
}

// output is how a call ended.
type output struct {
	result string // ok; no: what it is about is not there; taken; other: the condition does not hold; unknown
	value  string
}

// model is one object: its value, or "" while it is not there.
var model = porcupine.NondeterministicModel{
	Partition: func(all []porcupine.Operation) (parts [][]porcupine.Operation) {
		at := map[string]int{}
		for _, o := range all {
			name := o.Input.(input).name
			n, ok := at[name]
			if !ok {
				n, at[name] = len(parts), len(parts)
				parts = append(parts, nil)
			}
			parts[n] = append(parts[n], o)
		}
		return parts
	},
	Init: func() []any { return []any{""} },
	Step: func(state, in, out any) []any {
		is, i, o := state.(string), in.(input), out.(output)
		next, want := step(is, i)
		switch o.result {
		case "unknown":
			return []any{is, next} // it was carried out, or was not
		case want.result:
			if i.op != "get" || o.value == want.value {
				return []any{next}
			}
		}
		return nil
	},
	DescribeOperation: func(in, out any) string { return fmt.Sprintf("%+v → %+v", in, out) },
}

// step is what one object does.
func step(is string, i input) (next string, out output) {
	switch {
	case i.op == "create" && is != "":
		return is, output{result: "taken"}
	case i.op == "create":
		return i.value, output{result: "ok"}
	case is == "":
		return is, output{result: "no"}
	case i.op == "get":
		return is, output{"ok", is}
	case i.condition != "" && i.condition != is:
		return is, output{result: "other"}
	case i.op == "delete":
		return "", output{result: "ok"}
	default:
		return i.value, output{result: "ok"}
	}
}

// history is what all clients called and were answered.
type history struct {
	start time.Time
	mu    sync.Mutex
	calls []porcupine.Operation
	// etags are the revisions with which values were read.
	etags   map[[2]string]int64
	unknown int
}

func (h *history) now() int64 { return time.Since(h.start).Nanoseconds() }

func (h *history) add(client int, i input, call int64, o output) {
	h.mu.Lock()
	defer h.mu.Unlock()
	done := h.now()
	if o.result == "unknown" {
		if h.unknown++; i.op == "get" {
			return // it changed nothing and says nothing
		}
		done = 1 << 62 // it may be carried out at any time to come
	}
	h.calls = append(h.calls, porcupine.Operation{ClientId: client, Input: i, Call: call, Output: o, Return: done})
}

// caller is one client of the API.
type caller struct {
	*history
	t    *testing.T
	id   int
	n    int
	dice *rand.Rand
	c    *client.Client
	read map[string]seen // what was last read, by name
}

type seen struct {
	value string
	etag  int64
}

const names = 6

// run calls until ctx ends.
func (u *caller) run(ctx context.Context) {
	for ctx.Err() == nil {
		u.call(context.WithoutCancel(ctx))
	}
}

// call makes one call, as the dice say.
func (u *caller) call(ctx context.Context) {
	u.n++
	i := input{name: fmt.Sprintf("o-%d", u.dice.IntN(names)), value: fmt.Sprintf("v-%d-%d", u.id, u.n)}
	k, _ := api.KindByName(api.KindInstanceType)
	var o client.WriteOptions
	if last := u.read[i.name]; u.dice.IntN(2) == 0 && last.etag != 0 {
		i.condition, o.IfMatch = last.value, last.etag
	}
	at, r, err := u.now(), client.Result{}, error(nil)
	switch d := u.dice.IntN(10); {
	case d < 4:
		i = input{op: "get", name: i.name}
		r, err = u.c.Get(ctx, k, "", i.name)
	case d < 6:
		i.op, i.condition = "create", ""
		it := &api.InstanceType{}
		it.Name, it.Labels = i.name, map[string]string{"value": i.value}
		it.Spec.Size = api.Size{VCPUs: 1, MemoryMiB: 128, DiskGiB: 1}
		_, err = u.c.Create(ctx, it, client.WriteOptions{})
	case d < 9:
		i.op = "patch"
		_, err = u.c.Patch(ctx, k, "", i.name, map[string]any{"labels": map[string]string{"value": i.value}}, o)
	default:
		i.op = "delete"
		_, err = u.c.Delete(ctx, k, "", i.name, o)
	}
	out := output{result: outcome(err)}
	if i.op == "get" && err == nil {
		m := r.Object.GetMeta()
		out.value = m.Labels["value"]
		u.read[i.name] = seen{out.value, m.Revision}
		u.check(i.name, out.value, m.Revision)
	}
	if out.result == "" {
		u.t.Errorf("%+v was answered %v", i, err)
	}
	u.add(u.id, i, at, out)
}

// check demands that a value has one ETag, wherever it is read.
func (h *history) check(name, value string, etag int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := [2]string{name, value}
	if was := h.etags[at]; was != 0 && was != etag {
		h.calls = append(h.calls, porcupine.Operation{Input: input{op: "get", name: name}, Output: output{"ok", fmt.Sprintf("%s with the ETag %d and with %d", value, was, etag)}, Call: h.now(), Return: h.now()})
	}
	h.etags[at] = etag
}

func outcome(err error) string {
	var p *api.Problem
	switch {
	case err == nil:
		return "ok"
	case !errors.As(err, &p), p.Status >= 500:
		return "unknown"
	case p.Status == 404:
		return "no"
	case p.Code == "name_taken":
		return "taken"
	case p.Status == 412:
		return "other"
	}
	return ""
}

// judge demands that one order of all calls explains all answers.
func (h *history) judge(t *testing.T) {
	t.Helper()
	m := model.ToModel()
	result, info := porcupine.CheckOperationsVerbose(m, h.calls, 5*time.Minute)
	t.Logf("%d calls, of which %d have no known outcome: %s", len(h.calls), h.unknown, result)
	if result == porcupine.Ok {
		return
	}
	t.Errorf("no order of the calls explains the answers: %s", result)
	if result == porcupine.Illegal {
		for _, line := range unexplained(info.PartialLinearizationsOperations(), model.Partition(h.calls)) {
			t.Log(line)
		}
	}
}

// unexplained are, of each object whose calls have no order, the calls about the time of
// the first that the longest of the orders does not have.
func unexplained(orders [][][]porcupine.Operation, calls [][]porcupine.Operation) (lines []string) {
	for p, all := range calls {
		var longest []porcupine.Operation
		for _, order := range orders[p] {
			if len(order) > len(longest) {
				longest = order
			}
		}
		if len(longest) == len(all) {
			continue
		}
		in := map[porcupine.Operation]bool{}
		for _, o := range longest {
			in[o] = true
		}
		stuck := int64(math.MaxInt64) // when the first that is in no order returned
		for _, o := range all {
			if !in[o] {
				stuck = min(stuck, o.Return)
			}
		}
		const around = int64(2 * time.Second)
		slices.SortFunc(all, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
		lines = append(lines, fmt.Sprintf("%s: %d of %d calls have an order", all[0].Input.(input).name, len(longest), len(all)))
		for _, o := range all {
			if o.Return > stuck-around && o.Call < stuck+around {
				lines = append(lines, fmt.Sprintf("%t client %d, %.6f to %.6f s: %+v → %+v", in[o], o.ClientId, time.Duration(o.Call).Seconds(), time.Duration(o.Return).Seconds(), o.Input, o.Output))
			}
		}
	}
	return lines
}

// Two clients cannot both have made the object while nobody removed it.
func TestUnexplained_namesTheCallsThatContradict(t *testing.T) {
	at := func(client int, i input, from int64, o output) porcupine.Operation {
		return porcupine.Operation{ClientId: client, Input: i, Call: from, Output: o, Return: from + 1}
	}
	calls := []porcupine.Operation{
		at(0, input{op: "create", name: "well", value: "a"}, 1, output{result: "ok"}),
		at(0, input{op: "create", name: "odd", value: "b"}, 3, output{result: "ok"}),
		at(1, input{op: "create", name: "odd", value: "c"}, 5, output{result: "ok"}),
	}
	result, info := porcupine.CheckOperationsVerbose(model.ToModel(), calls, time.Minute)
	got := strings.Join(unexplained(info.PartialLinearizationsOperations(), model.Partition(calls)), "\n")
	if result != porcupine.Illegal || !strings.HasPrefix(got, "odd: 1 of 2 calls have an order\ntrue client 0") || !strings.Contains(got, "\nfalse client 1") {
		t.Errorf("%s:\n%s", result, got)
	}
}
