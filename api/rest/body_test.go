package rest_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cairn-cloud/cairn/api"
)

func TestCreate_namesTheFieldAndTheCause(t *testing.T) {
	c := newCloud(t)
	instance := func(spec string) string { return `{"name":"x","spec":{"type":"t","image":"i",` + spec + `}}` }
	size := func(s string) string { return `{"name":"x","spec":{` + s + `}}` }
	const instances, types, subnets = "/v1/projects/p/instances", "/v1/instance-types", "/v1/projects/p/subnets"
	for _, x := range []struct {
		name, path, body  string
		status            int
		code, field, hint string
	}{
		{"nothing", instances, ``, 422, "missing_field", "spec", ""},
		{"not JSON", instances, `{"name":`, 400, "invalid_json", "", "JSON"},
		{"something behind", instances, `{} {}`, 400, "invalid_json", "", ""},
		{"not an object", instances, `[]`, 422, "wrong_type", "", ""},
		{"null", instances, `null`, 422, "wrong_type", "", ""},
		{"not UTF-8", instances, "{\"name\":\"\xff\"}", 400, "invalid_json", "", "UTF-8"},
		{"too deep", instances, strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100), 400, "invalid_json", "", ""},
		{"a key twice", instances, `{"name":"x","name":"y"}`, 400, "duplicate_field", "name", ""},
		{"a key twice, deep", instances, instance(`"nics":[{"network":"a","network":"b"}]`), 400, "duplicate_field", "spec.nics[0].network", ""},
		{"unknown field", instances, instance(`"nicz":[]`), 422, "unknown_field", "spec.nicz", "did you mean nics?"},
		{"unknown field in a list", instances, instance(`"nics":[{"network":"a"},{"addreses":[]}]`), 422, "unknown_field", "spec.nics[1].addreses", "did you mean addresses?"},
		{"right field, wrong case", instances, instance(`"Power":"on"`), 422, "unknown_field", "spec.Power", "did you mean power?"},
		{"wrong value", instances, instance(`"power":"onn"`), 422, "invalid_value", "spec.power", "did you mean on?"},
		{"not an address", instances, instance(`"nics":[{"network":"a","addresses":[{"address":"10.0.0"}]}]`), 422, "invalid_value", "spec.nics[0].addresses[0].address", ""},
		{"too many", instances, instance(`"nics":[` + strings.Repeat(`{"network":"a"},`, 8) + `{"network":"a"}]`), 422, "invalid_value", "spec.nics", ""},
		{"given by Cairn", instances, instance(`"reboots":3`), 422, "read_only", "spec.reboots", "leave it out"},
		{"given by Cairn, whole", instances, `{"name":"x","status":{"state":"running","observed_generation":0},"spec":{"type":"t","image":"i"}}`, 422, "read_only", "status", ""},
		{"a project other than the path's", instances, `{"name":"x","project":"q","spec":{"type":"t","image":"i"}}`, 422, "read_only", "project", ""},
		{"a label that is a number", instances, `{"name":"x","labels":{"example.org/a":1},"spec":{"type":"t","image":"i"}}`, 422, "wrong_type", "labels.example.org/a", ""},
		{"a unit in the value", types, size(`"vcpus":1,"memory_mib":"2GiB","disk_gib":5`), 422, "wrong_type", "spec.memory_mib", "MiB"},
		{"another unit in the name", types, size(`"vcpus":1,"memory_gib":2,"disk_gib":5`), 422, "unknown_field", "spec.memory_gib", "did you mean memory_mib?"},
		{"a fraction", types, size(`"vcpus":1.5,"memory_mib":512,"disk_gib":5`), 422, "invalid_value", "spec.vcpus", "fraction"},
		{"an exponent", types, size(`"vcpus":1e0,"memory_mib":512,"disk_gib":5`), 422, "invalid_value", "spec.vcpus", "exponent"},
		{"out of range", types, size(`"vcpus":0,"memory_mib":512,"disk_gib":5`), 422, "invalid_value", "spec.vcpus", ""},
		{"beyond 64 bits", types, size(`"vcpus":99999999999999999999,"memory_mib":512,"disk_gib":5`), 422, "invalid_value", "spec.vcpus", ""},
		{"required field", types, size(`"vcpus":1,"disk_gib":5`), 422, "missing_field", "spec.memory_mib", ""},
		{"not a prefix", subnets, `{"name":"x","spec":{"network":"n","cidr":"10.0.0.0"}}`, 422, "invalid_value", "spec.cidr", "10.0.0.0/24"},
		{"too small a prefix", subnets, `{"name":"x","spec":{"network":"n","cidr":"10.0.0.0/30"}}`, 422, "invalid_value", "spec.cidr", "/29"},
		{"not a name", instances, `{"name":"X_1","spec":{"type":"t","image":"i"}}`, 422, "invalid_value", "name", ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			c.t = t
			p := c.refused(c.do("cloud", "POST", x.path, x.body), x.status, x.code, x.field)
			if !strings.Contains(p.Hint+" "+p.Detail, x.hint) {
				t.Errorf("neither hint %q nor detail %q says %q", p.Hint, p.Detail, x.hint)
			}
		})
	}
	if len(c.m.objects[api.KindInstance])+len(c.m.objects[api.KindInstanceType])+len(c.m.objects[api.KindSubnet]) != 0 {
		t.Error("something was made")
	}
}

func TestCreate_tellsAllFaultsAtOnce(t *testing.T) {
	c := newCloud(t)
	p := c.do("cloud", "POST", "/v1/projects/p/instances", `{"labels":{"a.b":1},"id":"ins_1","spec":{"type":1,"imag":"x","nics":[{"addresses":[{"address":"x"}]}]}}`).problem(t)
	var got []string
	for _, f := range p.Errors {
		got = append(got, f.Code+" "+f.Field)
	}
	want := "wrong_type labels.a.b, unknown_field spec.imag, invalid_value spec.nics[0].addresses[0].address, wrong_type spec.type, missing_field spec.image, missing_field name, read_only id"
	if strings.Join(got, ", ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, ", "), want)
	}
}

func TestCreate_takesWhatTheGoClientWrites(t *testing.T) {
	c := newCloud(t)
	o := &api.InstanceType{}
	o.Name = "small"
	o.Spec.Size = api.Size{VCPUs: 1, MemoryMiB: 512, DiskGiB: 5}
	if a := c.do("cloud", "POST", "/v1/instance-types", o); a.status != 201 {
		t.Errorf("%d %s", a.status, a.body)
	}
	n := &api.Network{}
	n.Name, n.Project = "n", "p"
	if a := c.do("p-member", "POST", "/v1/projects/p/networks", n); a.status != 201 {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestBody_wantsItsContentType(t *testing.T) {
	c := newCloud(t)
	for _, typ := range []string{"text/plain", "application/x-www-form-urlencoded", "application/merge-patch+json", "application/json; charset=latin1", "nonsense;"} {
		a := c.do("cloud", "POST", "/v1/projects", `{"name":"x"}`, "Content-Type: "+typ)
		c.refused(a, 415, "unsupported_media_type", "")
	}
	if a := c.do("cloud", "POST", "/v1/projects", `{"name":"x"}`, "Content-Type: application/json; charset=UTF-8"); a.status != 201 {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// zeros is an endless body that counts what is read of it.
type zeros struct{ read atomic.Int64 }

func (z *zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	z.read.Add(int64(len(p)))
	return len(p), nil
}

func TestBody_of100MBIsRefusedUnread(t *testing.T) {
	c := newCloud(t)
	for _, told := range []bool{true, false} {
		t.Run(fmt.Sprintf("length told: %v", told), func(t *testing.T) {
			z := &zeros{}
			req, err := http.NewRequest("POST", c.http.URL+"/v1/projects", io.LimitReader(z, 100<<20))
			if err != nil {
				t.Fatal(err)
			}
			if told {
				req.ContentLength = 100 << 20
			}
			req.Header.Set("Authorization", "Bearer cairn_cloud")
			req.Header.Set("Content-Type", "application/json")
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatalf("the answer did not come before the connection was closed: %v", err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusRequestEntityTooLarge {
				t.Errorf("status %d", resp.StatusCode)
			}
			if z.read.Load() > 16<<20 {
				t.Errorf("%d bytes were taken", z.read.Load())
			}
		})
	}
}
