package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

// A console log may grow to logMax bytes; then its last logKeep bytes go to the
// file with ".0" behind its name, and it begins anew. Where virtlogd writes the
// log it bounds it by itself, below this.
const (
	logMax  = 16 << 20
	logKeep = 1 << 20
)

// TrimLogs implements agent.Disks. QEMU appends, so it goes on at the new end;
// what a guest writes in the moment between copy and truncation is lost.
func (s *Store) TrimLogs(context.Context) error {
	dirs, err := os.ReadDir(s.layout.Instances())
	if err != nil {
		return fmt.Errorf("trim the console logs: %w", err)
	}
	var errs []error
	for _, d := range dirs {
		if err := trim(s.layout.ConsoleLog(d.Name())); err != nil {
			errs = append(errs, fmt.Errorf("trim the console log of %s: %w", d.Name(), err))
		}
	}
	return errors.Join(errs...)
}

func trim(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err != nil || st.Size() <= logMax {
		return err
	}
	tail := make([]byte, logKeep)
	n, err := f.ReadAt(tail, st.Size()-logKeep)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return errors.Join(writeWhole(path+".0", 0o600, tail[:n]), f.Truncate(0))
}
