// Package e2e tries everything together: a lab of three hosts with real
// libvirt, QEMU, kernel networking and etcd, and guests that say on their
// serial console what they see. Nothing in it stands in for anything.
//
// Its input is bin/cairn and the guest images (make build images); it leaves
// the machine as it found it, also after a failure, and must never touch a lab
// but its own. It is built with the tag lab: make test runs it.
package e2e
