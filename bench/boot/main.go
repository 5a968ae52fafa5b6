package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/api/client"
	"github.com/cairn-cloud/cairn/bench"
	"github.com/cairn-cloud/cairn/deploy/lab"
)

type options struct {
	cairn, image string
	rounds       int
}

const (
	labName = "bench"
	host    = "h1"
	tenant  = "tenant"
	// aim is how many times as long as by hand it may take.
	aim = 1.5
)

func main() {
	var o options
	flag.StringVar(&o.cairn, "cairn", "bin/cairn", "the binary to measure")
	flag.StringVar(&o.image, "image", "deploy/images/out/tiny.qcow2", "image to start from")
	flag.IntVar(&o.rounds, "rounds", 20, "how many instances each way")
	bench.Main(func(ctx context.Context) error {
		flag.Parse()
		return run(ctx, o)
	})
}

func run(ctx context.Context, o options) (err error) {
	binary, err := filepath.Abs(o.cairn)
	if err != nil {
		return err
	}
	l, err := lab.Open(lab.Options{Dir: "/var/lib/cairn-lab-" + labName, Name: labName, Binary: binary, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Down()) }()
	if err := l.Up(ctx, lab.UpOptions{Hosts: 1, Virtualization: "qemu"}); err != nil {
		return err
	}
	c, err := dial(l)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := bench.Tenant(ctx, c, tenant); err != nil {
		return err
	}
	if err := bench.Upload(ctx, c, o.image); err != nil {
		return err
	}
	m := &measurement{lab: l, client: c}
	if err := m.rounds(ctx, o.rounds); err != nil {
		return err
	}
	fmt.Println(bench.Machine())
	return m.print()
}

// dial makes a client of the lab's administrator.
func dial(l *lab.Lab) (*client.Client, error) {
	read := func(name string) (string, error) {
		b, err := os.ReadFile(filepath.Join(l.Dir(), name))
		return strings.TrimSpace(string(b)), err
	}
	server, err1 := read("server")
	token, err2 := read("admin.token")
	ca, err3 := read("ca.crt")
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, fmt.Errorf("read what the lab has left: %w", err)
	}
	return client.New(client.Options{Server: server, Token: token, CA: []byte(ca), UserAgent: "cairn-bench"})
}

type measurement struct {
	lab          *lab.Lab
	client       *client.Client
	cairn, hands []time.Duration
}

// rounds starts an instance each way in turn. The first of each is not counted:
// it brings the image to the host and libvirt to know QEMU.
func (m *measurement) rounds(ctx context.Context, n int) error {
	for i := range n + 1 {
		took, id, err := m.byCairn(ctx, i)
		if err != nil {
			return fmt.Errorf("by Cairn: %w", err)
		}
		byHand, err := m.byHand(ctx, id)
		if err != nil {
			return fmt.Errorf("by hand: %w", err)
		}
		if err := m.delete(ctx, id); err != nil {
			return err
		}
		if i > 0 {
			m.cairn, m.hands = append(m.cairn, took), append(m.hands, byHand)
		}
	}
	return nil
}

func (m *measurement) byCairn(ctx context.Context, n int) (took time.Duration, id string, err error) {
	i := &api.Instance{}
	i.Name, i.Project = fmt.Sprintf("i-%d", n), tenant
	i.Spec.Type, i.Spec.Image, i.Spec.NICs = "t1-nano", bench.ImageName, []api.NIC{{Network: bench.NetworkName}}
	k, _ := api.KindByName(api.KindInstance)
	began := time.Now()
	r, err := m.client.Create(ctx, i, client.WriteOptions{})
	if err != nil {
		return 0, "", err
	}
	id = r.Object.GetMeta().ID
	_, err = m.client.WaitFor(ctx, k, tenant, id, func(o api.Object) (bool, error) {
		return o != nil && o.StatusPtr().GetStatus().State == api.StateRunning, nil
	})
	return time.Since(began), id, err
}

func (m *measurement) delete(ctx context.Context, id string) error {
	k, _ := api.KindByName(api.KindInstance)
	if _, err := m.client.Delete(ctx, k, tenant, id, client.WriteOptions{}); err != nil {
		return err
	}
	_, err := m.client.WaitFor(ctx, k, tenant, id, func(o api.Object) (bool, error) { return o == nil, nil })
	return err
}

// prepare writes the XML of a domain by hand: the instance's, under another
// name, on another tap, with another MAC and disks of its own. Not timed.
const prepare = `set -eu
mkdir -p $by
virsh dumpxml --inactive $id | sed -e "s/$id/hand/g" -e '/<uuid>/d' -e '/<metadata>/,/<\/metadata>/d' \
	-e "s/<target dev='ct[^']*'/<target dev='hand0'/" -e "s#<mac address='..#<mac address='06#" -e "s#$state/instances/hand#$by#g" >$by/hand.xml
qemu-img info -U --output=json $state/instances/$id/root.qcow2 | sed -n 's/.*"full-backing-filename": "\(.*\)".*/\1/p' >$by/image
ls /sys/class/net | grep '^cb' >$by/bridge
`

// work is what is timed.
const work = `set -eu
qemu-img create -q -f qcow2 -b "$(cat $by/image)" -F qcow2 $by/root.qcow2 1G
cp $state/instances/$id/config.iso $by/config.iso
ip tuntap add hand0 mode tap vnet_hdr
ip link set hand0 mtu 1500 master "$(cat $by/bridge)" up
virsh -q define $by/hand.xml
virsh -q start hand
`

const undo = `set -u
virsh -q domstate hand
virsh -q destroy hand
virsh -q undefine hand
ip link del hand0
rm -rf $by
`

func (m *measurement) byHand(ctx context.Context, id string) (time.Duration, error) {
	if out, err := m.shell(ctx, id, prepare); err != nil {
		return 0, fmt.Errorf("prepare: %w: %s", err, out)
	}
	began := time.Now()
	out, err := m.shell(ctx, id, work)
	took := time.Since(began)
	if err != nil {
		return 0, errors.Join(fmt.Errorf("%w: %s", err, out), m.undo(ctx, id))
	}
	return took, m.undo(ctx, id)
}

func (m *measurement) undo(ctx context.Context, id string) error {
	out, err := m.shell(ctx, id, undo)
	if err == nil && !strings.HasPrefix(out, "running") {
		err = fmt.Errorf("the domain made by hand does not run: %s", out)
	}
	return err
}

// shell runs a script on the host.
func (m *measurement) shell(ctx context.Context, id, script string) (string, error) {
	state := filepath.Join(m.lab.Dir(), "hosts", host, "state")
	vars := fmt.Sprintf("id=%s state=%s by=%s\n", id, state, filepath.Join(state, "byhand"))
	argv, err := m.lab.Exec(host, "sh", "-c", vars+script)
	if err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (m *measurement) print() error {
	var ratios []float64
	for i := range m.cairn {
		ratios = append(ratios, m.cairn[i].Seconds()/m.hands[i].Seconds())
	}
	t := bench.NewTable(os.Stdout, "from POST to running", "p50", "p99")
	t.Row("cairn", bench.Quantile(m.cairn, 0.5), bench.Quantile(m.cairn, 0.99))
	t.Row("by hand", bench.Quantile(m.hands, 0.5), bench.Quantile(m.hands, 0.99))
	t.Row("ratio, round by round", bench.Quantile(ratios, 0.5), bench.Quantile(ratios, 0.99))
	t.Row(fmt.Sprintf("at most %.1f times", aim), bench.Verdict(bench.Quantile(ratios, 0.5) <= aim), "")
	return t.End()
}
