//go:build lab

package e2e

import (
	"strings"
)

// debianComesUp: an image of Debian that knows nothing of Cairn, with its own
// cloud-init, comes up with its name, its key, its address and its user data.
func debianComesUp(b *bed) {
	b.cairn("image", "create", "debian", "--file", image(b.T, "debian.qcow2"))
	b.cairn("instance-type", "create", "e2e-debian", "--vcpus", "1", "--memory-mib", "768", "--disk-gib", "3")
	b.cairn("instance", "create", "deb", "--type", "e2e-debian", "--image", "debian", "--network", "front=10.10.0.50", "--required-label", "name=h3",
		"--ssh-key", "e2e", "--user-data", "#!/bin/sh\necho user-data-ran > /run/e2e\n")
	ns := b.routerOf("front")
	ssh := func(command string) (string, error) {
		return b.tryOn("h3", "nsenter", "--net=/run/netns/"+ns, "--",
			"ssh", "-i", keyFile, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5",
			"debian@10.10.0.50", command)
	}
	// A whole system boots here, on an emulated processor, beside the other guests.
	b.within(3*patience, "it lets its key in and cloud-init is done", func() (bool, string) {
		out, err := ssh("cloud-init status --wait")
		if err != nil {
			out += "\n" + err.Error() + "\n" + b.console("deb")
		}
		return err == nil && strings.Contains(out, "status: done"), out
	})
	for command, want := range map[string]string{
		"hostname":       "deb",
		"cat /run/e2e":   "user-data-ran",
		"ip -4 -br addr": "10.10.0.50/24",
		"cloud-id":       "nocloud",
		"ip route":       "default via 10.10.0.1",
		"python3 -c 'import urllib.request as u; print(u.urlopen(\"http://169.254.169.254/latest/meta-data/hostname\").read().decode())'": "deb",
		"ping -c1 -W5 -q 10.10.0.11": "1 received",
	} {
		out, err := ssh(command)
		if err != nil || !strings.Contains(out, want) {
			b.Errorf("%s: %v, and not %q:\n%s", command, err, want, out)
		}
	}
	b.cairn("instance", "delete", "deb")
	b.cairn("image", "delete", "debian")
	b.cairn("instance-type", "delete", "e2e-debian")
}
