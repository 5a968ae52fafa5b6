// Package controller is the control plane: it admits what users ask for, places
// instances, reconciles what is with what should be, and speaks with agents
// through objects.
//
// Input comes from REST (Backend's methods) and from the store's watch; output
// goes to the store, as Changes, and to hosts, as their desired state. What
// decides is a function of a view, the time and seeded randomness (Admit, Reconcile,
// placements); what touches the world (sockets, the image store, timers) is at the
// edge and owned by Controller.Run. It must never talk to an agent to change
// anything, never write a record that somebody else owns (a host's status, a placed
// instance's), and never import REST.
//
// A kind is one file here, with a line in Kinds.
package controller
