package controller

import (
	"github.com/cairn-cloud/cairn/api"
)

// imageKind has no Reconcile: what an image needs done is in files, which the
// imageKeeper does.
var imageKind = Kind{Name: api.KindImage, Admit: admitImage}

func admitImage(_ *admission, old, o api.Object) error {
	return immutable(old, o, "make another image: the bytes of an image never change", "description")
}

// conditionBytes of an image says whether its bytes are there and right.
const conditionBytes = "Bytes"

// imageStatus returns a copy of the image in another state.
func imageStatus(img *api.Image, state api.State, c api.Condition) *api.Image {
	n := api.Clone(img)
	c.Type = conditionBytes
	n.Status.State = state
	n.Status.ObservedGeneration = n.Generation
	n.Status.SetCondition(c)
	return n
}
