package images

import "fmt"

// Refusal says why bytes are no image that Cairn takes.
type Refusal struct {
	Reason  string // stable CamelCase word for programs
	Message string // for people
	Hint    string // what to do
}

// Error implements error.
func (r *Refusal) Error() string { return r.Message }

func refuse(reason, hint, format string, args ...any) error {
	return &Refusal{Reason: reason, Message: fmt.Sprintf(format, args...), Hint: hint}
}
