package libvirt

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// directIO tells whether the file system that holds path, or will hold it, opens files
// with O_DIRECT, which QEMU's cache=none needs (tmpfs may not).
func directIO(path string) bool {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	if err == nil {
		_ = unix.Close(fd)
		return true
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".directio-*")
	if err != nil {
		return false
	}
	defer func() {
		_ = f.Close()
		_ = os.Remove(f.Name())
	}()
	fd, err = unix.Open(f.Name(), unix.O_RDONLY|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	_ = unix.Close(fd)
	return true
}
