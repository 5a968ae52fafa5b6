package client

import (
	"context"
	"fmt"
	"iter"

	"github.com/cairn-cloud/cairn/api"
)

// Get reads a resource by name or ID, as its type: Get[*api.Instance](…).
func Get[T api.Object](ctx context.Context, c *Client, project, ref string) (T, error) {
	k, err := kindFor[T]()
	if err != nil {
		return *new(T), err
	}
	r, err := c.Get(ctx, k, project, ref)
	return typed[T](r, err)
}

// List yields all resources of a type.
func List[T api.Object](ctx context.Context, c *Client, o ListOptions) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		k, err := kindFor[T]()
		if err != nil {
			yield(*new(T), err)
			return
		}
		for item, err := range c.List(ctx, k, o) {
			t, _ := item.(T)
			if !yield(t, err) {
				return
			}
		}
	}
}

// Create makes a resource and returns it as it is then.
func Create[T api.Object](ctx context.Context, c *Client, o T, w WriteOptions) (T, error) {
	r, err := c.Create(ctx, o, w)
	return typed[T](r, err)
}

// Patch changes a resource by a merge patch.
func Patch[T api.Object](ctx context.Context, c *Client, project, ref string, patch any, w WriteOptions) (T, error) {
	k, err := kindFor[T]()
	if err != nil {
		return *new(T), err
	}
	r, err := c.Patch(ctx, k, project, ref, patch, w)
	return typed[T](r, err)
}

// Delete deletes a resource, and returns the operation that ends when it is
// gone; "" when it is gone already.
func Delete[T api.Object](ctx context.Context, c *Client, project, ref string, w WriteOptions) (operation string, err error) {
	k, err := kindFor[T]()
	if err != nil {
		return "", err
	}
	r, err := c.Delete(ctx, k, project, ref, w)
	return r.Operation, err
}

// Action does one of the actions of a resource's kind; input may be nil.
func Action[T api.Object](ctx context.Context, c *Client, project, ref, action string, input any, w WriteOptions) (T, error) {
	k, err := kindFor[T]()
	if err != nil {
		return *new(T), err
	}
	r, err := c.Action(ctx, k, project, ref, action, input, w)
	return typed[T](r, err)
}

// WaitFor returns the resource as soon as it is as wanted; see Client.WaitFor.
func WaitFor[T api.Object](ctx context.Context, c *Client, project, ref string, done func(T) (bool, error)) (T, error) {
	k, err := kindFor[T]()
	if err != nil {
		return *new(T), err
	}
	o, err := c.WaitFor(ctx, k, project, ref, func(o api.Object) (bool, error) {
		t, _ := o.(T) // a zero T says that it is gone
		return done(t)
	})
	t, _ := o.(T)
	return t, err
}

func typed[T api.Object](r Result, err error) (T, error) {
	if err != nil || r.Object == nil {
		return *new(T), err
	}
	t, ok := r.Object.(T)
	if !ok {
		return t, fmt.Errorf("read the answer: it is a %T", r.Object)
	}
	return t, nil
}
