package rest

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/cairn-cloud/cairn/api"
)

type renewRequest struct {
	CSR string `json:"csr" doc:"PKCS#10 request in PEM; only its public key is used."`
}

// agentBody reads what an agent sends. Unknown fields are let through: an agent
// of the next release talks to a controller of this one.
func (c *call) agentBody(limit int64, into any) error {
	body, err := c.readBody(limit, typeJSON)
	if err != nil {
		return err
	}
	if _, err := parseJSON(body); err != nil {
		return err
	}
	return decodeBytes(body, into)
}

type named struct{ name, value string }

// given demands that fields are not empty.
func given(fields ...named) error {
	var f api.Faults
	for _, x := range fields {
		if x.value == "" {
			f = append(f, api.Fault{Field: x.name, Code: "missing_field", Detail: x.name + " is required"})
		}
	}
	return f.Err()
}

func (c *call) join() error {
	var r api.JoinRequest
	if err := c.agentBody(maxBody, &r); err != nil {
		return err
	}
	if err := given(named{"secret", r.Secret}, named{"name", r.Name}, named{"csr", r.CSR}); err != nil {
		return err
	}
	a, err := c.backend.Join(c.context(), r)
	if err != nil {
		return err
	}
	return c.json(http.StatusCreated, a)
}

func (c *call) renew() error {
	if err := c.ownHost(); err != nil {
		return err
	}
	var r renewRequest
	if err := c.agentBody(maxBody, &r); err != nil {
		return err
	}
	a, err := c.backend.Renew(c.context(), c.who.Host, r.CSR)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, a)
}

func (c *call) heartbeat() error {
	if err := c.ownHost(); err != nil {
		return err
	}
	life, err := c.backend.Heartbeat(c.context(), c.who.Host)
	if err != nil {
		return err
	}
	c.header().Set(headerRevision, strconv.FormatInt(life, 10))
	c.echo.Response().WriteHeader(http.StatusNoContent)
	return nil
}

func (c *call) report() error {
	if err := c.ownHost(); err != nil {
		return err
	}
	var reports []api.Report
	if err := c.agentBody(maxReportBody, &reports); err != nil {
		return err
	}
	seen, err := c.seenRevision()
	if err != nil {
		return err
	}
	rev, err := c.backend.Report(c.context(), c.who.Host, seen, reports)
	if err != nil {
		return err
	}
	c.header().Set(headerRevision, strconv.FormatInt(rev, 10))
	c.echo.Response().WriteHeader(http.StatusNoContent)
	return nil
}

// seenRevision is the revision that the host answers to; 0 where it does not say.
func (c *call) seenRevision() (int64, error) {
	text := c.request().Header.Get(headerRevision)
	if text == "" {
		return 0, nil
	}
	rev, err := strconv.ParseInt(text, 10, 64)
	if err != nil || rev < 0 {
		return 0, api.NewProblem(400, "invalid_parameter", headerRevision, "give the revision that the desired state came with", "%q is no revision", text)
	}
	return rev, nil
}

// desired streams the host's desired state: first all of it, then differences.
func (c *call) desired() error {
	if err := c.ownHost(); err != nil {
		return err
	}
	seen, err := c.seenRevision()
	if err != nil {
		return err
	}
	s := c.stream()
	ctx, cancel := context.WithCancel(c.context())
	defer cancel()
	defer context.AfterFunc(c.closing, cancel)()
	ticks, stop := c.newTicker(heartbeat)
	defer stop()
	// The backend runs in this goroutine: there is such a stream for every host.
	for items, err := range c.backend.Desired(ctx, c.who.Host, seen, ticks) {
		switch {
		case err != nil:
		case len(items) > 0:
			err = s.send("items", "", items)
		default:
			err = s.beat()
		}
		if err != nil {
			return s.end(err)
		}
	}
	return s.end(errClosing)
}

// beat tells a host that the stream lives, as long as it may have it.
func (s *stream) beat() error {
	if err := s.stillAllowed(); err != nil {
		return err
	}
	return s.send(api.EventBookmark, "", json.RawMessage("[]"))
}
