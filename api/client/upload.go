package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"

	"github.com/cairn-cloud/cairn/api"
)

// Upload sends the bytes of an image. Where a connection breaks it asks how
// much has arrived and goes on from there, also after a new start with the
// same image; it gives up when nothing arrives in several attempts.
func (c *Client) Upload(ctx context.Context, project, image string, bytes io.ReadSeeker, progress func(sent, total int64)) error {
	total, err := bytes.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("upload image %s: %w", image, err)
	}
	path := dataPath(project, image)
	failures, before := 0, int64(-1)
	for {
		at, complete, err := c.received(ctx, path)
		if err != nil {
			return fmt.Errorf("upload image %s: %w", image, err)
		}
		if progress != nil {
			progress(at, total)
		}
		if complete {
			return nil
		}
		if at > total {
			return fmt.Errorf("upload image %s: the server has %d bytes, which is more than the %d of this file: it is another one; delete the image and make it anew", image, at, total)
		}
		if at > before {
			failures = 0
		}
		before = at
		err = c.uploadFrom(ctx, path, bytes, at, total)
		switch {
		case err == nil:
			if progress != nil {
				progress(total, total)
			}
			return nil
		case !again(err) && !errors.Is(err, errElsewhere), ctx.Err() != nil:
			return fmt.Errorf("upload image %s: %w", image, err)
		}
		if failures++; failures >= c.o.Attempts {
			return fmt.Errorf("upload image %s: no byte arrived in %d attempts: %w", image, failures, err)
		}
		if err := c.o.Sleep(ctx, c.backoff(failures)); err != nil {
			return err
		}
	}
}

func dataPath(project, image string) string {
	k, _ := api.KindByName(api.KindImage)
	return member(k, project, image) + "/data"
}

func (c *Client) received(ctx context.Context, path string) (offset int64, complete bool, err error) {
	r, err := c.Do(ctx, Request{Method: http.MethodHead, Path: path})
	if err != nil {
		return 0, false, err
	}
	offset, err = strconv.ParseInt(r.Header.Get("Upload-Offset"), 10, 64)
	if err != nil {
		return 0, false, fmt.Errorf("ask how much has arrived: the answer's Upload-Offset is %q", r.Header.Get("Upload-Offset"))
	}
	return offset, r.Header.Get("Upload-Complete") == "?1", nil
}

func (c *Client) uploadFrom(ctx context.Context, path string, bytes io.ReadSeeker, at, total int64) error {
	if _, err := bytes.Seek(at, io.SeekStart); err != nil {
		return err
	}
	body := &uploadBody{Reader: io.LimitReader(bytes, total-at), closed: make(chan struct{})}
	r := Request{Method: http.MethodPatch, Path: path, Header: http.Header{
		"Content-Type":    {"application/octet-stream"},
		"Upload-Offset":   {strconv.FormatInt(at, 10)},
		"Upload-Complete": {"?1"},
	}}
	base, lost := c.at()
	resp, err := c.send(ctx, base, r, body, total-at)
	if total > at {
		// The transport may read on after it returned, until it closes the body;
		// the next attempt must not share the file with it.
		<-body.closed
	}
	if err != nil {
		if body.err != nil {
			return body.err // the file could not be read: nothing to repeat
		}
		lost()
		return &connectionError{base.Host, err}
	}
	defer func() { _ = resp.Body.Close() }() // it was read as far as it is wanted
	if resp.StatusCode >= 400 {
		if now := resp.Header.Get("Upload-Offset"); resp.StatusCode == http.StatusConflict && now != "" && now != strconv.FormatInt(at, 10) {
			return errors.Join(errElsewhere, problemOf(base.Host, resp))
		}
		return problemOf(base.Host, resp)
	}
	return nil
}

// errElsewhere says that the server has more or fewer bytes than it said
// before: what a broken request left behind was still being written.
var errElsewhere = errors.New("the upload goes on elsewhere")

// uploadBody tells when the transport is done with it, and an error of the file
// from one of the connection.
type uploadBody struct {
	io.Reader
	closed chan struct{}
	once   sync.Once
	err    error
}

func (b *uploadBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		b.err = err
	}
	return n, err
}

func (b *uploadBody) Close() error {
	b.once.Do(func() { close(b.closed) })
	return nil
}

// ImageData opens the bytes of an image from an offset on. An agent may do so
// for the images of the instances on its host, with project "".
func (c *Client) ImageData(ctx context.Context, project, image string, offset int64) (io.ReadCloser, error) {
	r := Request{Method: http.MethodGet, Path: dataPath(project, image), Stream: true}
	if offset > 0 {
		r.Header = http.Header{"Range": {"bytes=" + strconv.FormatInt(offset, 10) + "-"}}
	}
	resp, err := c.Do(ctx, r)
	if err != nil {
		return nil, err
	}
	if offset > 0 && resp.Status != http.StatusPartialContent {
		return nil, errors.Join(fmt.Errorf("read image %s from byte %d: the server sends all of it", image, offset), resp.Stream.Close())
	}
	return resp.Stream, nil
}

// ConsoleLog returns the last bytes of an instance's serial console; limit 0
// means the server's default.
func (c *Client) ConsoleLog(ctx context.Context, project, instance string, limit int64) ([]byte, error) {
	k, _ := api.KindByName(api.KindInstance)
	r := Request{Method: http.MethodGet, Path: member(k, project, instance) + "/console-log"}
	if limit > 0 {
		r.Query = map[string][]string{"limit": {strconv.FormatInt(limit, 10)}}
	}
	resp, err := c.Do(ctx, r)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}
