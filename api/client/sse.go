package client

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"iter"
	"strings"
)

// sseEvent is one server-sent event.
type sseEvent struct {
	ID    string // the last one given, by this event or one before
	Event string // "message" where none is given
	Data  string
}

// maxEvent is the most that one event may hold, in bytes.
const maxEvent = 64 << 20

var errEventTooLarge = errors.New("an event of the stream is larger than 64 MiB")

// readSSE yields the events of a stream, as the HTML standard reads them (section
// 9.2.6), until it ends. A last event without its blank line is dropped: it may be cut short.
func readSSE(r io.Reader) iter.Seq2[sseEvent, error] {
	return func(yield func(sseEvent, error) bool) {
		in := bufio.NewReaderSize(r, 64<<10)
		if bom, err := in.Peek(3); err == nil && string(bom) == "\uFEFF" {
			_, _ = in.Discard(3) // it was just peeked
		}
		var id, event string
		var data strings.Builder
		has := false
		for {
			line, err := readLine(in)
			if err != nil {
				if !errors.Is(err, io.EOF) {
					yield(sseEvent{}, err)
				}
				return
			}
			if len(line) == 0 {
				if has {
					if event == "" {
						event = "message"
					}
					if !yield(sseEvent{id, event, strings.TrimSuffix(data.String(), "\n")}, nil) {
						return
					}
				}
				event, has = "", false
				data.Reset()
				continue
			}
			field, value, _ := strings.Cut(string(line), ":")
			value = strings.TrimPrefix(value, " ")
			switch field {
			case "id":
				if !strings.ContainsRune(value, 0) {
					id = value
				}
			case "event":
				event = value
			case "data":
				if data.Len()+len(value) > maxEvent {
					yield(sseEvent{}, errEventTooLarge)
					return
				}
				data.WriteString(value + "\n")
				has = true
			}
		}
	}
}

// readLine reads up to "\n", "\r\n" or the end of whole lines; a bare "\r" is
// part of the line, as Cairn's data never holds one.
func readLine(in *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			return bytes.TrimSuffix(line[:len(line)-1], []byte("\r")), nil
		case len(line) > maxEvent:
			return nil, errEventTooLarge
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
}
