package store

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/cairn-cloud/cairn/api"
)

// part is one of an object's three records.
type part int

const (
	partSpec      part = iota // metadata and spec
	partPlacement             // instances only
	partStatus
)

// envelope is the value of a record: the version of its form, and the part of
// the wire's JSON that the record holds.
type envelope[T any] struct {
	Schema int `json:"schema"`
	Object T   `json:"object"`
}

// encode makes the record of that part. The revision is etcd's to say and is
// not in it; nor is anything that no part names, such as a secret shown once.
func encode(p part, schema int, o api.Object) ([]byte, error) {
	var v any
	switch p {
	case partSpec:
		m := *o.GetMeta()
		m.Revision = 0
		v = struct {
			*api.Meta
			Spec any `json:"spec"`
		}{&m, o.SpecPtr()}
	case partPlacement:
		i, ok := o.(*api.Instance)
		if !ok {
			return nil, fmt.Errorf("encode placement of %s: only instances have one", o.GetMeta().ID)
		}
		v = struct {
			Placement *api.Placement `json:"placement"`
		}{&i.Placement}
	case partStatus:
		v = struct {
			Status api.Observed `json:"status"`
		}{o.StatusPtr()}
	}
	record, err := json.Marshal(envelope[any]{Schema: schema, Object: v})
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", o.GetMeta().ID, err)
	}
	return record, nil
}

// decode reads a record of any schema up to the kind's own. All that the record
// does not hold is zero in the object.
func decode(k api.Kind, record []byte) (o api.Object, schema int, err error) {
	o = k.New()
	// A record as this binary writes it is read in one go.
	if bytes.HasPrefix(record, []byte(`{"schema":`+strconv.Itoa(k.Schema)+`,"object":{`)) {
		if err := json.Unmarshal(record, &envelope[api.Object]{Object: o}); err != nil {
			return nil, 0, fmt.Errorf("decode a record of kind %s: %w", k.Name, err)
		}
		compact(o)
		return o, k.Schema, nil
	}
	var e envelope[json.RawMessage]
	if err := json.Unmarshal(record, &e); err != nil {
		return nil, 0, fmt.Errorf("decode a record of kind %s: %w", k.Name, err)
	}
	if e.Schema > k.Schema {
		return nil, 0, fmt.Errorf("decode a record of kind %s: its schema %d is newer than %d, the newest that this binary knows; run a newer release", k.Name, e.Schema, k.Schema)
	}
	raw := e.Object
	for v := max(e.Schema, 1); v < k.Schema; v++ {
		if raw, err = k.Upgrade[v-1](raw); err != nil {
			return nil, 0, fmt.Errorf("upgrade a record of kind %s from schema %d: %w", k.Name, v, err)
		}
	}
	if err := json.Unmarshal(raw, o); err != nil {
		return nil, 0, fmt.Errorf("decode a record of kind %s: %w", k.Name, err)
	}
	compact(o)
	return o, e.Schema, nil
}
