package libvirt

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"

	"github.com/cairn-cloud/cairn/agent"
)

// maxLog bounds how much of a console log goes along with a migration, in bytes: its end.
const maxLog = 16 << 20

// sendLog sends what of the console log was not sent yet.
func (t *transfer) sendLog(ctx context.Context) error {
	f, err := os.Open(t.h.o.Layout.ConsoleLog(t.m.Instance))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	to, err := t.m.Dial(ctx, agent.ChannelConsole)
	if err != nil {
		return err
	}
	defer func() { _ = to.Close() }()
	n, err := copyLog(to, f, t.logged)
	t.logged += n
	return err
}

// copyLog sends a log from the offset on, behind the offset itself and the length. The other
// side says when it has it all.
func copyLog(to net.Conn, f *os.File, from int64) (n int64, err error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if from == 0 && st.Size() > maxLog {
		n = st.Size() - maxLog
	}
	length := max(0, st.Size()-from-n) // it may have been cut short meanwhile
	if _, err := f.Seek(from+n, io.SeekStart); err != nil {
		return 0, err
	}
	if err := binary.Write(to, binary.BigEndian, [2]int64{from, length}); err != nil {
		return 0, err
	}
	sent, err := io.CopyN(to, f, length)
	if err != nil {
		return 0, err
	}
	var ok [1]byte
	_, err = io.ReadFull(to, ok[:])
	return n + sent, err
}

// logStream is the end of a channel that writes what comes into a log.
type logStream struct {
	net.Conn
	done chan struct{}
}

// Close implements io.Closer.
func (s logStream) Close() error {
	err := s.Conn.Close()
	<-s.done
	return err
}

// receiveLog appends to the log what comes, or begins it anew.
func receiveLog(path string) agent.Stream {
	here, there := net.Pipe()
	s := logStream{there, make(chan struct{})}
	go func() {
		defer close(s.done)
		defer func() { _ = here.Close() }()
		if writeLog(path, here) == nil {
			_, _ = here.Write([]byte{1})
		}
	}()
	return s
}

func writeLog(path string, from io.Reader) error {
	var head [2]int64
	if err := binary.Read(from, binary.BigEndian, &head); err != nil {
		return err
	}
	flags := os.O_WRONLY | os.O_CREATE | os.O_APPEND
	if head[0] == 0 {
		flags |= os.O_TRUNC
	}
	f, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return err
	}
	_, err = io.CopyN(f, from, min(head[1], maxLog))
	return errors.Join(err, f.Close())
}
