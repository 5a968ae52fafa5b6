package linux

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/cairn-cloud/cairn/network"
)

const sysctls = "/proc/sys"

// readSettings reads those of these settings that there are, in the thread's namespace.
func readSettings(into map[network.SettingKey]string, keys map[network.SettingKey]string) error {
	for key, wanted := range keys {
		b, err := os.ReadFile(filepath.Join(sysctls, key.File))
		switch {
		case err == nil:
			into[key] = strings.TrimSpace(string(b))
		case !errors.Is(err, fs.ErrNotExist):
			return err
		case withoutIPv6(key):
			into[key] = wanted
		}
	}
	return nil
}

// withoutIPv6: where the kernel has no IPv6, nothing is to be set.
func withoutIPv6(key network.SettingKey) bool {
	if !strings.HasPrefix(key.File, "net/ipv6/") {
		return false
	}
	_, err := os.Stat(filepath.Join(sysctls, "net/ipv6"))
	return errors.Is(err, fs.ErrNotExist)
}

// writeSetting writes one in the thread's namespace.
func writeSetting(key network.SettingKey, value string) error {
	if withoutIPv6(key) {
		return nil
	}
	return os.WriteFile(filepath.Join(sysctls, key.File), []byte(value), 0o644)
}
