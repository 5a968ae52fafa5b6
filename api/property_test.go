package api_test

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"regexp"
	"testing"

	"pgregory.net/rapid"

	"github.com/cairn-cloud/cairn/api"
)

// drawJSON draws an object of JSON that has the shape of a resource's example
// and values that may be anything: leaves are kept, dropped, or replaced.
func drawJSON(t *rapid.T, v any) any {
	switch rapid.IntRange(0, 9).Draw(t, "what") {
	case 0:
		return rapid.SampledFrom([]any{"", "x", 0, -1, 1 << 40, 1.5, true, nil, []any{}, map[string]any{}, "::1/0", "0.0.0.0/0", "255.255.255.255/32", "::ffff:10.0.0.1"}).Draw(t, "leaf")
	case 1:
		return nil
	default:
	}
	switch x := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for _, k := range sortedKeys(x) {
			if rapid.IntRange(0, 5).Draw(t, k) > 0 {
				out[k] = drawJSON(t, x[k])
			}
		}
		return out
	case []any:
		var out []any
		for range rapid.IntRange(0, 2*len(x)).Draw(t, "len") {
			out = append(out, drawJSON(t, x[0]))
		}
		return out
	default:
		return v
	}
}

// Whatever decodes can be made complete and judged; doing so twice changes nothing.
func TestDefault_isIdempotent(t *testing.T) {
	for _, k := range api.Kinds {
		t.Run(k.Name, func(t *testing.T) {
			_, b := example(t, k)
			var tree any
			if err := json.Unmarshal(b, &tree); err != nil {
				t.Fatal(err)
			}
			rapid.Check(t, func(t *rapid.T) {
				in, err := json.Marshal(drawJSON(t, tree))
				if err != nil {
					t.Fatal(err)
				}
				o := k.New()
				if json.Unmarshal(in, o) != nil {
					return // not of the kind: refused before Default
				}
				o.Default()
				once := mustMarshal(t, o)
				verdict := errText(o.Validate())
				o.Default()
				if twice := mustMarshal(t, o); !bytes.Equal(once, twice) {
					t.Fatalf("Default is not idempotent:\n%s\n%s", once, twice)
				}
				if again := errText(o.Validate()); again != verdict {
					t.Fatalf("Validate says %q and then %q", verdict, again)
				}
				if !bytes.Equal(mustMarshal(t, o), once) {
					t.Fatal("Validate changed the object")
				}
				if c := mustMarshal(t, api.Clone(o)); !bytes.Equal(c, once) {
					t.Fatalf("the clone differs:\n%s\n%s", once, c)
				}
			})
		})
	}
}

func TestIsName_agreesWithThePatternOfTheSchema(t *testing.T) {
	pattern := regexp.MustCompile(`^[a-z]([a-z0-9-]*[a-z0-9])?$`)
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(rapid.StringMatching(`[a-z0-9-]{0,65}`), rapid.String()).Draw(t, "s")
		if got, want := api.IsName(s), pattern.MatchString(s) && len(s) <= 63; got != want {
			t.Fatalf("IsName(%q) is %v, the schema says %v", s, got, want)
		}
		if _, isID := api.KindByID(s); isID && api.IsName(s) {
			t.Fatalf("%q is both a name and an ID", s)
		}
	})
}

func TestOperationID_isParsedBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		object := rapid.StringMatching(`[a-z]{3}_[a-z0-9]{20}`).Draw(t, "object")
		generation := rapid.Int64Min(0).Draw(t, "generation")
		o, g, ok := api.ParseOperationID(api.OperationID(object, generation))
		if !ok || o != object || g != generation {
			t.Fatalf("%s at %d came back as %s at %d, %v", object, generation, o, g, ok)
		}
	})
}

func TestLastAddr_isTheGreatestOfThePrefix(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var a [4]byte
		copy(a[:], rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "address"))
		p := netip.PrefixFrom(netip.AddrFrom4(a), rapid.IntRange(1, 32).Draw(t, "bits")).Masked()
		last := api.LastAddr(p)
		if !p.Contains(last) || p.Contains(last.Next()) {
			t.Fatalf("the last address of %s is not %s", p, last)
		}
	})
}

func mustMarshal(t *rapid.T, v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatalf("%T does not marshal: %v", v, err)
	}
	return b
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
