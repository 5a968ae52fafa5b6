package rest

import (
	"errors"
	"io"

	"github.com/cairn-cloud/cairn/api"
)

// Limits of a console log, in bytes.
const (
	consoleDefault = 64 << 10
	consoleMax     = 4 << 20
)

// consoleLog answers with the last bytes of an instance's serial console, as
// the guest wrote them.
func (c *call) consoleLog() (err error) {
	k, _ := api.KindByName(api.KindInstance)
	o, err := c.read(k)
	if err != nil {
		return err
	}
	limit, err := c.number("limit", consoleDefault, 1, consoleMax)
	if err != nil {
		return err
	}
	log, err := c.backend.ConsoleLog(c.context(), o.(*api.Instance), limit)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	c.header().Set("Content-Type", "text/plain; charset=utf-8")
	_, err = io.Copy(c.echo.Response(), io.LimitReader(log, limit))
	return err
}
