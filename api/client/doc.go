// Package client is the Go client of the API, and the only one: the CLI, the
// agent, the Terraform provider and the tests use it.
//
// Its input is calls and the server's answers; its output is typed resources and
// errors that are *api.Problem wherever the server spoke. It repeats what is
// safe to repeat (every change carries an idempotency key, so all of it is) and
// resumes watches and uploads where they broke. It must never decide anything
// about a resource, and keeps no copy of any.
package client
