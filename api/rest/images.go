package rest

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/cairn-cloud/cairn/api"
)

// The bytes of images: uploads that can be resumed, and downloads in ranges.

func (c *call) image(verb api.Verb) (*api.Image, error) {
	k, _ := api.KindByName(api.KindImage)
	if c.who.Host != "" {
		return c.hostImage()
	}
	var o api.Object
	var err error
	if reads(verb) {
		o, err = c.read(k)
	} else {
		o, err = c.target(k, verb)
	}
	if err != nil {
		return nil, err
	}
	return o.(*api.Image), nil
}

// hostImage is an image that an instance uses which is placed on the caller's
// host, or being moved there.
func (c *call) hostImage() (*api.Image, error) {
	id := c.param("id")
	i, _ := c.view.Get(api.KindImage, id).(*api.Image)
	if i != nil {
		for o := range c.view.Referrers(api.KindInstance, api.KindImage, id) {
			if ins, ok := o.(*api.Instance); ok && (ins.Placement.Host == c.who.Host || ins.Placement.Target != nil && ins.Placement.Target.Host == c.who.Host) {
				return i, nil
			}
		}
	}
	return nil, api.NotFound(api.KindImage, id)
}

// uploadState answers HEAD: how much has arrived, and whether that is all.
func (c *call) uploadState() error {
	i, err := c.image(api.VerbGet)
	if err != nil {
		return err
	}
	h := c.header()
	complete := i.Status.State == api.StateReady
	received := i.Status.SizeBytes
	if !complete {
		if received, err = c.backend.Received(c.context(), i); err != nil {
			return err
		}
	}
	h.Set(headerUploadOffset, strconv.FormatInt(received, 10))
	h.Set(headerUploadComplete, structuredBool(complete))
	c.echo.Response().WriteHeader(http.StatusOK)
	return nil
}

// upload answers PATCH: it appends the body at the offset. What arrived before
// a connection broke is kept; HEAD tells how much that is.
func (c *call) upload() error {
	i, err := c.image(api.VerbUpdate)
	if err != nil {
		return err
	}
	r := c.request()
	if err := wantType(r.Header.Get("Content-Type"), "application/octet-stream", "application/partial-upload"); err != nil {
		return err
	}
	offset, err := strconv.ParseInt(r.Header.Get(headerUploadOffset), 10, 64)
	if err != nil || offset < 0 {
		return api.NewProblem(400, "invalid_header", headerUploadOffset, "ask by HEAD how much has arrived", "%q is not an offset in bytes", r.Header.Get(headerUploadOffset))
	}
	complete := false
	switch v := r.Header.Get(headerUploadComplete); v {
	case "?1":
		complete = true
	case "", "?0":
	default:
		return api.NewProblem(400, "invalid_header", headerUploadComplete, "send ?1 with the last bytes, else ?0", "%q is neither ?1 nor ?0", v)
	}
	received, err := c.backend.Upload(c.context(), i, offset, complete, &patientReader{r.Body, c.unhurried()})
	if err != nil {
		if at, e := c.backend.Received(c.context(), i); e == nil {
			c.header().Set(headerUploadOffset, strconv.FormatInt(at, 10))
		}
		return err
	}
	c.header().Set(headerUploadOffset, strconv.FormatInt(received, 10))
	c.header().Set(headerUploadComplete, structuredBool(complete))
	c.echo.Response().WriteHeader(http.StatusNoContent)
	return nil
}

func structuredBool(b bool) string {
	if b {
		return "?1"
	}
	return "?0"
}

// download answers GET with the stored bytes, ranges included.
func (c *call) download() (err error) {
	i, err := c.image(api.VerbGet)
	if err != nil {
		return err
	}
	if i.Status.SHA256 == "" {
		return api.NewProblem(409, "image_not_ready", "status.state", "wait until it is ready", "the image %s is %s: it has no bytes yet", i.Name, i.Status.State)
	}
	blob, err := c.backend.Blob(c.context(), i)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, blob.Close()) }()
	h := c.header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("ETag", `"sha256:`+i.Status.SHA256+`"`)
	http.ServeContent(&patientWriter{c.echo.Response(), c.unhurried()}, c.request(), "", time.Time{}, blob)
	return nil
}
