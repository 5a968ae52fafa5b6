package watchdog

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// timeout is what the device is asked for. Some round it up, and Timeout says to what.
const timeout = 30 * time.Second

// Device is a watchdog device. It implements agent.Watchdog.
type Device struct {
	path    string
	mu      sync.Mutex
	file    *os.File // nil: it is not armed
	timeout time.Duration
}

// Open finds out whether there is such a device, and starts nothing.
func Open(path string) (*Device, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("watchdog: %w (load the module of the machine's, or softdog)", err)
	}
	if st.Mode()&os.ModeCharDevice == 0 {
		return nil, fmt.Errorf("watchdog: %s is no device", path)
	}
	return &Device{path: path, timeout: timeout}, nil
}

// Arm starts it. One that runs, left by the agent before this one, goes on.
func (d *Device) Arm() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.file != nil {
		return nil
	}
	f, err := os.OpenFile(d.path, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("arm the watchdog: %w", err)
	}
	seconds := int(timeout.Seconds())
	if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.WDIOC_SETTIMEOUT, seconds); err != nil {
		return errors.Join(fmt.Errorf("arm the watchdog %s: set its timeout to %d seconds: %w", d.path, seconds, err), release(f))
	}
	if seconds, err = unix.IoctlGetInt(int(f.Fd()), unix.WDIOC_GETTIMEOUT); err != nil || seconds <= 0 {
		return errors.Join(fmt.Errorf("arm the watchdog %s: it does not say its timeout: %w", d.path, err), release(f))
	}
	d.file, d.timeout = f, time.Duration(seconds)*time.Second
	return nil
}

// Pet puts the reset off.
func (d *Device) Pet() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.file == nil {
		return errors.New("pet the watchdog: it is not armed")
	}
	if err := unix.IoctlWatchdogKeepalive(int(d.file.Fd())); err != nil {
		return fmt.Errorf("pet the watchdog %s: %w", d.path, err)
	}
	return nil
}

// Disarm stops it.
func (d *Device) Disarm() error {
	return d.end(release)
}

// Leave closes the device without what stops it, so that it goes on.
func (d *Device) Leave() error {
	return d.end(func(f *os.File) error { return f.Close() })
}

func (d *Device) end(how func(*os.File) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.file == nil {
		return nil
	}
	f := d.file
	d.file = nil
	return how(f)
}

// Timeout is how long after it was last petted it resets the machine.
func (d *Device) Timeout() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.timeout
}

// release stops a device: the last thing written before it is closed is a V.
func release(f *os.File) error {
	_, err := f.WriteString("V")
	return errors.Join(err, f.Close())
}
