package rest

import (
	"iter"

	"github.com/cairn-cloud/cairn/api"
)

// reader is where the objects of a kind are read from. All kinds are records
// in the view, but those that are views of other kinds themselves.
type reader interface {
	lookup(v api.View, project, ref string) api.Object
	list(v api.View, project, after string) iter.Seq[api.Object]
	// watched is the kind to watch ("" for all), and event turns what is seen there
	// into an event of this kind; false drops it.
	watched() string
	event(api.WatchEvent) (api.WatchEvent, bool)
}

func readers(*Server) map[string]reader {
	return map[string]reader{api.KindOperation: operations{}}
}

func (s *Server) reader(k api.Kind) reader {
	if r, ok := s.readers[k.Name]; ok {
		return r
	}
	return records(k.Name)
}

// records reads a kind that is stored.
type records string

func (r records) lookup(v api.View, project, ref string) api.Object {
	// The ID of an object of another kind would be found by no Lookup.
	return present(v.Lookup(string(r), project, ref))
}

func (r records) list(v api.View, project, after string) iter.Seq[api.Object] {
	return v.List(string(r), project, after)
}

func (r records) watched() string { return string(r) }

func (r records) event(e api.WatchEvent) (api.WatchEvent, bool) { return e, e.Kind == string(r) }

// present turns an interface that holds a nil pointer into nil.
func present(o api.Object) api.Object {
	if o == nil || o.GetMeta() == nil {
		return nil
	}
	return o
}
