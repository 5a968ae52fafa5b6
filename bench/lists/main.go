package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/api/client"
	"github.com/cairn-cloud/cairn/bench"
)

type options struct {
	cairn                     string
	instances, writers, pages int
}

const (
	tenant   = "tenant"
	pageSize = 100
	// One instance in ten has this label, so that a page of them is found among
	// ten times as many.
	label, oneIn = "tier=gold", 10
	// aim is what a page may take at p99.
	aim = 5 * time.Millisecond
)

func main() {
	var o options
	flag.StringVar(&o.cairn, "cairn", "bin/cairn", "the binary to measure")
	flag.IntVar(&o.instances, "instances", 100_000, "how many instances there are")
	flag.IntVar(&o.writers, "writers", 64, "how many make instances at once")
	flag.IntVar(&o.pages, "pages", 1000, "how many pages of a sort are read")
	bench.Main(func(ctx context.Context) error {
		flag.Parse()
		return bench.OnStand(ctx, o.cairn, func(s *bench.Stand) error { return run(ctx, s, o) })
	})
}

func run(ctx context.Context, s *bench.Stand, o options) error {
	project, err := seed(ctx, s.Client, o, s.Dir)
	if err != nil {
		return err
	}
	fmt.Println(bench.Machine())
	fmt.Printf("pages of %d out of %d instances\n\n", pageSize, o.instances)
	return measure(ctx, s.Client, s.Etcd.Client, project, o)
}

// seed makes the instances. They have no host, which changes nothing of a list.
func seed(ctx context.Context, c *client.Client, o options, dir string) (project string, err error) {
	if project, err = bench.Tenant(ctx, c, tenant); err != nil {
		return "", err
	}
	if err := bench.Image(ctx, c, dir); err != nil {
		return "", err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(o.writers)
	for n := range o.instances {
		g.Go(func() error {
			i := &api.Instance{}
			i.Name, i.Project = fmt.Sprintf("i-%06d", n), tenant
			if n%oneIn == 0 {
				i.Labels = map[string]string{"tier": "gold"}
			}
			i.Spec.Type, i.Spec.Image = "t1-nano", bench.ImageName
			if _, err := c.Create(ctx, i, client.WriteOptions{}); err != nil {
				return fmt.Errorf("make %s: %w", i.Name, err)
			}
			if (n+1)%20_000 == 0 {
				bench.Say("%d instances are made", n+1)
			}
			return nil
		})
	}
	return project, g.Wait()
}

// measure reads pages of each sort in turn, so that the machine's moods meet all alike.
func measure(ctx context.Context, c *client.Client, etcd *clientv3.Client, project string, o options) error {
	k, _ := api.KindByName(api.KindInstance)
	plain := client.ListOptions{Project: tenant, Limit: pageSize}
	middle, last, err := cursors(ctx, c, k, plain, o.instances/pageSize)
	if err != nil {
		return err
	}
	page := func(labels, cursor string) func() (func() error, error) {
		q := url.Values{"limit": {strconv.Itoa(pageSize)}}
		if labels != "" {
			q.Set("labels", labels)
		}
		if cursor != "" {
			q.Set("cursor", cursor)
		}
		return func() (func() error, error) {
			r, err := c.Do(ctx, client.Request{Method: http.MethodGet, Path: "/v1/projects/" + tenant + "/" + k.Plural, Query: q})
			return func() error { return full(r.Body) }, err
		}
	}
	sorts := []struct {
		name string
		read func() (check func() error, err error)
		took []time.Duration
	}{
		{name: "the first page", read: page("", "")},
		{name: "the page in the middle", read: page("", middle)},
		{name: "the last page", read: page("", last)},
		{name: "a page chosen by a label", read: page(label, "")},
		{name: "100 keys by a bare etcd client", read: func() (func() error, error) {
			r, err := etcd.Get(ctx, "/cairn/spec/instance/"+project+"/", clientv3.WithPrefix(), clientv3.WithLimit(pageSize))
			return func() error {
				if len(r.Kvs) != pageSize {
					return fmt.Errorf("etcd has %d keys there, not %d", len(r.Kvs), pageSize)
				}
				return nil
			}, err
		}},
	}
	for n := range o.pages + 10 {
		for i := range sorts {
			s := &sorts[i]
			began := time.Now()
			check, err := s.read()
			took := time.Since(began)
			if err == nil {
				err = check()
			}
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			if n >= 10 { // the first ones warm up
				s.took = append(s.took, took)
			}
		}
	}
	t := bench.NewTable(os.Stdout, "", "p50", "p99", "p99 below "+bench.Round(aim))
	for i, s := range sorts {
		p99, verdict := bench.Quantile(s.took, 0.99), ""
		if i < len(sorts)-1 { // the last one is the peer
			verdict = bench.Verdict(p99 < aim)
		}
		t.Row(s.name, bench.Quantile(s.took, 0.5), p99, verdict)
	}
	return t.End()
}

// full checks that a page is one. It is not timed.
func full(body []byte) error {
	var p struct {
		Items []json.RawMessage `json:"items"`
	}
	if err := json.Unmarshal(body, &p); err != nil {
		return fmt.Errorf("read a page: %w", err)
	}
	if len(p.Items) != pageSize {
		return fmt.Errorf("a page has %d instances, not %d", len(p.Items), pageSize)
	}
	return nil
}

// cursors walks the list once: those of the page in the middle and of the last.
func cursors(ctx context.Context, c *client.Client, k api.Kind, l client.ListOptions, pages int) (middle, last string, err error) {
	at := ""
	for n := 1; ; n++ {
		p, err := c.ListPage(ctx, k, l, at)
		if err != nil {
			return "", "", fmt.Errorf("walk the list: %w", err)
		}
		if p.Next == "" {
			return middle, at, nil
		}
		at = p.Next
		if n == pages/2 {
			middle = at
		}
	}
}
