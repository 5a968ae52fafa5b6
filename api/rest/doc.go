// Package rest is the HTTP server: one generic set of handlers over api.Kinds,
// with authentication, access, strict decoding, problem+json, pagination at one
// revision and watches.
//
// Its input is HTTP requests and api.Kinds; its output goes to the Backend that
// it declares, and to the wire. It keeps no state of its own but a few recently
// used views for pagination. It must never switch on a kind, import the store,
// or decide anything about a resource that the resource's own type or the
// Backend can decide.
package rest
