package controller

import (
	"time"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/controller/store"
)

// removeInstance lets an instance that is on no host go at once. One that is
// placed goes when its agent has said that nothing is left of it, or by force when
// its host is lost.
func removeInstance(a *admission, o api.Object, force bool) (bool, error) {
	i := o.(*api.Instance)
	if force && i.Placement.Host != "" && a.view.Alive(i.Placement.Host) {
		return false, api.NewProblem(409, "host_alive", "force", "delete it without force", "the host %s reports, so its agent can remove the instance %s cleanly", i.Placement.HostName, i.Name)
	}
	left, fenced := leftHost(a.view, i)
	if !force && !left {
		return false, nil
	}
	a.change = withInstance(a.change, a.view, i, a.now)
	a.change.Fenced = append(a.change.Fenced, fenced...)
	return true, nil
}

// leftHost tells whether nothing of the instance runs, or can run, on a host;
// fenced are the hosts on whose being off that relies.
func leftHost(v api.View, i *api.Instance) (left bool, fenced []string) {
	if i.Placement.Host == "" || v.Get(api.KindHost, i.Placement.Host) == nil {
		return true, nil
	}
	if i.Deleting() && i.Status.State == api.StateGone && i.Status.Epoch == i.Placement.Epoch {
		return true, nil
	}
	for _, h := range hostsOf(i) {
		if v.Fence(h) == nil {
			return false, nil
		}
	}
	return true, hostsOf(i)
}

// hostsOf are the hosts where an instance is, or may be on its way to.
func hostsOf(i *api.Instance) (out []string) {
	if i.Placement.Host != "" {
		out = append(out, i.Placement.Host)
	}
	if t := i.Placement.Target; t != nil {
		out = append(out, t.Host)
	}
	return out
}

// withInstance adds to a change what goes with an instance: its own ports; the
// others are detached.
func withInstance(c store.Change, v api.View, i *api.Instance, now time.Time) store.Change {
	for r := range v.Referrers(api.KindPort, api.KindInstance, i.ID) {
		old, ok := r.(*api.Port)
		switch {
		case !ok:
		case old.Spec.Owned:
			c.Delete = append(c.Delete, old)
			c = freed(c, v, old.ID, now)
		default:
			p := api.Clone(old)
			p.Spec.Instance = ""
			p.Generation++
			p.UpdatedAt = now
			c.Update = append(c.Update, p)
			c.Status = append(c.Status, portDown(p, p.Generation))
		}
	}
	return c
}

// reconcileInstance ends the deletion of an instance, and tells in the status of
// one that is not placed whether its image keeps it waiting. Once placed, the status
// is its agent's.
func reconcileInstance(v reconciling, id string) (c store.Change, again time.Duration, err error) {
	now := v.now
	i := get[*api.Instance](v, api.KindInstance, id)
	if i == nil {
		return c, 0, nil
	}
	if i.Placement.Target != nil {
		if c = reconcileMove(v, i, now); len(c.Place) > 0 {
			return c, 0, nil
		}
	}
	if i.Deleting() {
		if left, fenced := leftHost(v, i); left {
			c = withInstance(c, v, i, now)
			c.Fenced = fenced
			c.Delete = append(c.Delete, i)
			c.Events = append(c.Events, eventAbout(i, actorInstances, reasonDeleted, "instance "+i.Name+" is gone"))
		}
		return c, 0, nil
	}
	if i.Placement.Host != "" {
		return c, 0, nil
	}
	want := imageCondition(i, get[*api.Image](v, api.KindImage, i.Spec.Image))
	have := i.Status.Condition(conditionImage)
	if have == nil && want.OK || have != nil && have.OK == want.OK && have.Reason == want.Reason {
		return c, 0, nil
	}
	n := api.Clone(i)
	want.Since = now
	n.Status.State = api.StatePending
	n.Status.SetCondition(want)
	c.Status = append(c.Status, n)
	return c, 0, nil
}

// Conditions of an instance that the control plane writes. They stay when the
// agent reports.
const (
	conditionImage     = "ImageReady"
	conditionScheduled = "Scheduled"
	actorInstances     = "controller/instance"
)

// imageCondition judges whether the instance can start from its image.
func imageCondition(i *api.Instance, img *api.Image) api.Condition {
	c := api.Condition{Type: conditionImage}
	switch {
	case img == nil:
		c.Reason, c.Message = "NotFound", "its image is not there any more; delete the instance"
	case img.Status.State == api.StateFailed:
		c.Reason, c.Message = "Failed", "its image failed: "+imageFault(img)
	case img.Status.State != api.StateReady:
		c.Reason, c.Message = "Waiting", "it waits for the image "+img.Name+" to be ready"
	case !fitsDisk(i, img):
		c.Reason, c.Message = "DiskTooSmall", "its disk is smaller than the image "+img.Name+"; make it with a larger type"
	default:
		c.OK, c.Reason = true, "Ready"
	}
	return c
}

// unplacedOfImage are the instances that wait for an image.
func unplacedOfImage(v api.View, o api.Object) (ids []string) {
	for r := range v.Referrers(api.KindInstance, api.KindImage, o.GetMeta().ID) {
		if i, ok := r.(*api.Instance); ok && i.Placement.Host == "" {
			ids = append(ids, i.ID)
		}
	}
	return ids
}
