package rest_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/api/client"
)

// raw reads a watch as it is on the wire, line by line.
type raw struct {
	t      *testing.T
	resp   *http.Response
	lines  *bufio.Scanner
	cancel context.CancelFunc
}

func (c *cloud) watch(token, path string, headers ...string) *raw {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	req, err := http.NewRequestWithContext(ctx, "GET", c.http.URL+path, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer cairn_"+token)
	for _, h := range headers {
		k, v, _ := strings.Cut(h, ": ")
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		cancel()
		c.t.Fatal(err)
	}
	r := &raw{c.t, resp, bufio.NewScanner(resp.Body), cancel}
	c.t.Cleanup(r.close)
	return r
}

func (r *raw) close() {
	r.cancel()
	r.resp.Body.Close()
}

// next returns the next event as "event name-or-code"; "" when the stream ended.
func (r *raw) next() (text, id string) {
	r.t.Helper()
	for r.lines.Scan() {
		k, v, _ := strings.Cut(r.lines.Text(), ": ")
		switch k {
		case "id":
			id = v
		case "event":
			text = v
		case "data":
			var e struct {
				Object struct{ Name string }
				Code   string
			}
			if err := json.Unmarshal([]byte(v), &e); err != nil {
				r.t.Fatalf("%v: %s", err, v)
			}
			text = strings.TrimSpace(text + " " + e.Object.Name + e.Code)
		case "":
			return text, id
		}
	}
	return "", ""
}

func (r *raw) want(events ...string) (lastID string) {
	r.t.Helper()
	for _, w := range events {
		got, id := r.next()
		if got != w {
			r.t.Fatalf("got %q, want %q", got, w)
		}
		lastID = id
	}
	return lastID
}

func TestWatch_sendsWhatComesAfterTheList(t *testing.T) {
	c := newCloud(t)
	c.network(c.p, "before", nil)
	var p page
	c.do("p-viewer", "GET", "/v1/projects/p/networks", nil).object(t, &p)
	c.network(c.p, "after", nil)
	c.network(c.q, "not-mine", nil)
	w := c.watch("p-viewer", fmt.Sprintf("/v1/projects/p/networks?watch=true&from=%d", p.Revision))
	if ct := w.resp.Header.Get("Content-Type"); ct != "text/event-stream" {
		t.Error(ct)
	}
	w.want("put after", "bookmark")
	c.do("p-member", "PATCH", "/v1/projects/p/networks/after", `{"name":"renamed"}`)
	c.do("p-member", "DELETE", "/v1/projects/p/networks/renamed", nil)
	w.want("put renamed", "delete renamed")
}

func TestWatch_resumesWithoutLossOrRepetition(t *testing.T) {
	c := newCloud(t)
	first := c.watch("p-viewer", "/v1/networks?watch=true")
	first.want("bookmark")
	c.network(c.p, "a", nil)
	c.network(c.p, "b", nil)
	id := first.want("put a")
	first.close()
	c.network(c.p, "c", nil)
	c.watch("p-viewer", "/v1/networks?watch=true", "Last-Event-ID: "+id).want("put b", "put c", "bookmark")
	c.watch("p-viewer", "/v1/networks?watch=true&from="+id).want("put b", "put c", "bookmark")
}

func TestWatch_bookmarksAtEveryHeartbeat(t *testing.T) {
	c := newCloud(t)
	w := c.watch("p-viewer", "/v1/networks?watch=true")
	w.want("bookmark")
	for n := range 3 {
		o := c.network(c.q, fmt.Sprintf("of-another-%d", n), nil)
		// The bookmark goes on with what is not for this watcher. The change is
		// seen when the sequence has handed it over, so beat until it is.
		for {
			c.ticks <- time.Time{}
			at := w.want("bookmark")
			if strings.HasPrefix(at, fmt.Sprint(o.Revision)) {
				break
			}
		}
	}
}

func TestWatch_says410WhereHistoryIsGone(t *testing.T) {
	c := newCloud(t)
	c.network(c.p, "a", nil)
	c.network(c.p, "b", nil)
	w := c.watch("p-viewer", "/v1/networks?watch=true")
	w.want("bookmark")
	c.m.compact()
	c.refused(c.do("p-viewer", "GET", "/v1/networks?watch=true&from=11", nil), 410, "history_compacted", "")
	c.refused(c.do("p-viewer", "GET", "/v1/networks?watch=true&from=4711", nil), 410, "history_compacted", "") // from before a restore
	// A watch that falls behind later is told in the stream.
	c.m.mu.Lock()
	c.m.oldest = 1 << 40
	c.m.rev++
	c.m.tell(api.EventPut, api.KindNetwork, c.network1())
	c.m.mu.Unlock()
	w.want("error history_compacted", "")
}

func (c *cloud) network1() *api.Network {
	n := &api.Network{}
	n.ID, n.Name, n.Project = "net_x", "x", c.p.ID
	return n
}

func TestWatch_refusesAPlaceThatIsNone(t *testing.T) {
	c := newCloud(t)
	for _, bad := range []string{"x", "-1", "1.x", "1.-1", ".", "1.2.3"} {
		c.refused(c.do("p-viewer", "GET", "/v1/networks?watch=true&from="+bad, nil), 400, "invalid_parameter", "from")
	}
}

func TestWatch_byLabelsDeletesWhatStopsMatching(t *testing.T) {
	c := newCloud(t)
	w := c.watch("p-member", "/v1/projects/p/networks?watch=true&labels=app%3Dweb")
	w.want("bookmark")
	c.network(c.p, "other", map[string]string{"app": "db"})
	c.network(c.p, "a", map[string]string{"app": "web"})
	w.want("put a")
	patch := func(name, labels string) {
		t.Helper()
		c.do("p-member", "PATCH", "/v1/projects/p/networks/"+name, `{"labels":`+labels+`}`).object(t, &api.Network{})
	}
	patch("a", `{"app":"db"}`)
	w.want("delete a")
	patch("a", `{"app":"web"}`)
	// What was never shown is not deleted either.
	c.do("p-member", "DELETE", "/v1/projects/p/networks/other", nil)
	c.do("p-member", "DELETE", "/v1/projects/p/networks/a", nil)
	w.want("put a", "delete a")
}

func TestWatch_endsWithItsToken(t *testing.T) {
	c := newCloud(t)
	w := c.watch("p-viewer", "/v1/networks?watch=true")
	w.want("bookmark")
	c.do("cloud", "DELETE", "/v1/projects/p/tokens/p-viewer", nil)
	c.ticks <- time.Time{}
	w.want("error unauthenticated", "")
}

func TestWatch_endsWithTheServer(t *testing.T) {
	c := newCloud(t)
	w := c.watch("p-viewer", "/v1/networks?watch=true")
	w.want("bookmark")
	c.rest.Close()
	w.want("")
}

func TestWatch_ofOperationsFollowsTheirResources(t *testing.T) {
	c := newCloud(t)
	w := c.watch("p-member", "/v1/projects/p/operations?watch=true")
	w.want("bookmark")
	var i api.Instance
	c.do("p-member", "POST", "/v1/projects/p/instances", instanceBody).object(t, &i)
	w.want("put web")
	c.m.status(api.KindInstance, i.ID, func(s *api.Status) { s.State = api.StateRunning })
	w.want("put web")
}

func TestClient_watchResumesOverBrokenConnections(t *testing.T) {
	c := newCloud(t)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	cl := c.client("p-viewer")
	k, _ := api.KindByName(api.KindNetwork)
	seen := 0
	for e, err := range cl.Watch(ctx, k, client.WatchOptions{Project: "p"}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Type == api.EventPut {
			if want := fmt.Sprintf("n%d", seen); e.Object.GetMeta().Name != want {
				t.Fatalf("got %s, want %s", e.Object.GetMeta().Name, want)
			}
			seen++
			c.http.CloseClientConnections()
		}
		if seen == 5 {
			break
		}
		if e.Type == api.EventPut || seen == 0 {
			c.network(c.p, fmt.Sprintf("n%d", seen), nil)
		}
	}
	if seen != 5 {
		t.Errorf("%d of 5", seen)
	}
}

func (c *cloud) client(token string) *client.Client {
	c.t.Helper()
	cl, err := client.New(client.Options{Server: c.http.URL, Token: "cairn_" + token, Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(cl.Close)
	return cl
}

func TestClient_goesThroughTheLifeOfAResource(t *testing.T) {
	c := newCloud(t)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	cl := c.client("p-member")
	i := &api.Instance{}
	i.Name, i.Project, i.Spec.Type, i.Spec.Image = "web", "p", "small", "debian"
	k, _ := api.KindOf(i)
	dry, err := cl.Create(ctx, i, client.WriteOptions{DryRun: true})
	if err != nil || dry.Preview.Host != "h1" {
		t.Fatalf("%+v %v", dry, err)
	}
	made, err := cl.Create(ctx, i, client.WriteOptions{IdempotencyKey: "k"})
	if err != nil {
		t.Fatal(err)
	}
	if again, err := cl.Create(ctx, i, client.WriteOptions{IdempotencyKey: "k"}); err != nil || !again.Replayed {
		t.Errorf("%+v %v", again, err)
	}
	id := made.Object.GetMeta().ID
	waited := make(chan error, 1)
	go func() {
		_, err := cl.WaitOperation(ctx, made.Operation)
		waited <- err
	}()
	c.m.status(api.KindInstance, id, func(s *api.Status) { s.State, s.ObservedGeneration = api.StateRunning, 1 })
	if err := <-waited; err != nil {
		t.Error(err)
	}
	got, err := client.Get[*api.Instance](ctx, cl, "p", "web")
	if err != nil || got.ID != id {
		t.Errorf("%v %v", got, err)
	}
	_, err = client.Patch[*api.Instance](ctx, cl, "p", "web", map[string]any{"labels": map[string]string{"a": "b"}}, client.WriteOptions{IfMatch: 1})
	if !client.IsCode(err, "precondition_failed") {
		t.Error(err)
	}
	stopped, err := client.Action[*api.Instance](ctx, cl, "p", "web", "stop", nil, client.WriteOptions{})
	if err != nil || stopped.Spec.Power != api.PowerOff {
		t.Errorf("%+v %v", stopped, err)
	}
	op, err := client.Delete[*api.Instance](ctx, cl, "p", id, client.WriteOptions{})
	if err != nil || op == "" {
		t.Fatalf("%q %v", op, err)
	}
	go func() {
		_, err := cl.WaitOperation(ctx, op)
		waited <- err
	}()
	c.m.mu.Lock()
	c.m.commit(api.EventDelete, c.m.objects[k.Name][id])
	c.m.mu.Unlock()
	if err := <-waited; err != nil {
		t.Error(err)
	}
	for n := range 5 {
		c.network(c.p, fmt.Sprintf("n%d", n), nil)
	}
	count := 0
	for n, err := range client.List[*api.Network](ctx, cl, client.ListOptions{Project: "p", Limit: 2}) {
		if err != nil || n.Name != fmt.Sprintf("n%d", count) {
			t.Fatalf("%v %v", n, err)
		}
		count++
	}
	if count != 5 {
		t.Errorf("%d of 5", count)
	}
}
