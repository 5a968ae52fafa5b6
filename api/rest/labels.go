package rest

import (
	"strings"

	"github.com/cairn-cloud/cairn/api"
)

// selector is a condition on labels; all of its terms must hold.
type selector []labelTerm

type labelTerm struct {
	key   string
	value string
	op    labelOp
}

type labelOp int

const (
	labelExists labelOp = iota
	labelIs
	labelIsNot
)

// parseSelector reads "a=b,c!=d,e". A term c!=d also holds where there is no c.
func parseSelector(s string) (selector, error) {
	var sel selector
	if s == "" {
		return nil, nil
	}
	for term := range strings.SplitSeq(s, ",") {
		t := labelTerm{key: term, op: labelExists}
		if k, v, ok := strings.Cut(term, "!="); ok {
			t = labelTerm{k, v, labelIsNot}
		} else if k, v, ok := strings.Cut(term, "="); ok {
			t = labelTerm{k, strings.TrimPrefix(v, "="), labelIs} // "==" is a habit of many
		}
		if t.key == "" || !api.IsLabelWord(t.key) || !api.IsLabelWord(t.value) {
			return nil, api.NewProblem(400, "invalid_parameter", "labels", "give terms such as app=web,tier!=db,canary", "%q is not a condition on a label", term)
		}
		sel = append(sel, t)
	}
	return sel, nil
}

func (s selector) matches(labels map[string]string) bool {
	for _, t := range s {
		v, ok := labels[t.key]
		switch t.op {
		case labelExists:
			if !ok {
				return false
			}
		case labelIs:
			if !ok || v != t.value {
				return false
			}
		case labelIsNot:
			if ok && v == t.value {
				return false
			}
		}
	}
	return true
}
