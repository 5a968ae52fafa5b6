package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/cairn-cloud/cairn/api"
)

// bodyFlags say what a resource is to be: a file, then flags over it, then --set.
type bodyFlags struct {
	app       *app
	kind      api.Kind
	file      string
	sets      []string
	labels    []string
	protected bool
	fields    []specField
	texts     map[string]*string   // by flag
	lists     map[string]*[]string // by flag
}

func (a *app) bodyFlags(c *cobra.Command, k api.Kind) *bodyFlags {
	b := &bodyFlags{app: a, kind: k, texts: map[string]*string{}, lists: map[string]*[]string{}}
	f := c.Flags()
	f.StringVarP(&b.file, "from-file", "f", "", "file with the resource in YAML or JSON; - is the standard input")
	f.StringArrayVar(&b.sets, "set", nil, "set a field, such as spec.nics[0].network=front; may be given many times")
	f.StringSliceVar(&b.labels, "labels", nil, "labels as KEY=VALUE,…; KEY- removes one")
	f.BoolVar(&b.protected, "protected", false, "refuse deletion")
	b.fields = specFields(reflect.TypeOf(k.New().SpecPtr()).Elem(), "spec")
	for i := range b.fields {
		field := &b.fields[i]
		field.flag = strings.TrimPrefix(field.flag, "spec-")
		b.add(c, field.flag, field.doc, field.list || field.isMap, field.isBool)
	}
	for _, v := range conveniencesOf(k.Name) {
		b.add(c, v.flag, v.doc, true, false)
	}
	return b
}

func (b *bodyFlags) add(c *cobra.Command, flag, doc string, many, isBool bool) {
	if many {
		b.lists[flag] = c.Flags().StringArray(flag, nil, doc)
		return
	}
	b.texts[flag] = c.Flags().String(flag, "", doc)
	if isBool {
		c.Flags().Lookup(flag).NoOptDefVal = "true"
	}
}

// build puts the body together. name is "" for a change.
func (b *bodyFlags) build(c *cobra.Command, name string) (map[string]any, error) {
	body, err := b.fromFile()
	if err != nil {
		return nil, err
	}
	if name != "" {
		body["name"] = name
	}
	if c.Flags().Changed("protected") {
		body["protected"] = b.protected
	}
	for _, l := range b.labels {
		if err := setLabel(body, l); err != nil {
			return nil, usage(c, err)
		}
	}
	for _, f := range b.fields {
		if c.Flags().Changed(f.flag) {
			if err := f.set(body, b.values(f.flag)); err != nil {
				return nil, usage(c, err)
			}
		}
	}
	for _, v := range conveniencesOf(b.kind.Name) {
		if c.Flags().Changed(v.flag) {
			if err := v.apply(b.app, body, b.values(v.flag)); err != nil {
				return nil, err
			}
		}
	}
	for _, s := range b.sets {
		if err := b.set(body, s); err != nil {
			return nil, usage(c, err)
		}
	}
	return body, nil
}

func (b *bodyFlags) values(flag string) []string {
	if l := b.lists[flag]; l != nil {
		return *l
	}
	return []string{*b.texts[flag]}
}

func (b *bodyFlags) fromFile() (map[string]any, error) {
	body := map[string]any{}
	if b.file == "" {
		return body, nil
	}
	text, err := b.app.read(b.file)
	if err != nil {
		return nil, fmt.Errorf("read the resource: %w", err)
	}
	asJSON, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return nil, fmt.Errorf("read the resource in %s: %w", b.file, err)
	}
	d := json.NewDecoder(bytes.NewReader(asJSON))
	d.UseNumber() // an int64 is not to become a float
	if err := d.Decode(&body); err != nil {
		return nil, fmt.Errorf("read the resource in %s: it is no object: %w", b.file, err)
	}
	return body, nil
}

// read reads a file, or the standard input for "-".
func (a *app) read(file string) ([]byte, error) {
	if file == "-" {
		return io.ReadAll(a.in)
	}
	return a.readFile(file)
}

func setLabel(body map[string]any, s string) error {
	if k, ok := strings.CutSuffix(s, "-"); ok && !strings.Contains(s, "=") {
		return assign(body, []string{"labels", k}, nil)
	}
	k, v, ok := strings.Cut(s, "=")
	if !ok {
		return fmt.Errorf("--labels %s: give KEY=VALUE, or KEY- to remove one", s)
	}
	return assign(body, []string{"labels", k}, v)
}

var step = regexp.MustCompile(`^([a-z0-9_./-]+)((?:\[\d+\])*)$`)

// set does --set PATH=VALUE. A value for a field of text is taken as text;
// any other as JSON where it is that.
func (b *bodyFlags) set(body map[string]any, s string) error {
	path, text, ok := strings.Cut(s, "=")
	if !ok {
		return fmt.Errorf("--set %s: give PATH=VALUE", s)
	}
	var v any = text
	if json.Valid([]byte(text)) && !b.isText(path) {
		v = json.RawMessage(text)
	}
	return setPath(body, path, v)
}

func (b *bodyFlags) isText(path string) bool {
	for _, f := range b.fields {
		if strings.Join(f.path, ".") == path {
			return f.typ.Kind() == reflect.String
		}
	}
	return strings.HasPrefix(path, "labels.")
}

// setPath sets "spec.nics[0].network". A list grows by one at most, so that it
// has no holes.
func setPath(body map[string]any, path string, v any) error {
	var at any = body
	put := func(any) {}
	for part := range strings.SplitSeq(path, ".") {
		m := step.FindStringSubmatch(part)
		if m == nil {
			return fmt.Errorf("--set %s: %q is no field", path, part)
		}
		if at == nil {
			at = map[string]any{}
			put(at)
		}
		object, ok := at.(map[string]any)
		if !ok {
			return fmt.Errorf("--set %s: what holds %q is no object", path, part)
		}
		name := m[1]
		at, put = object[name], func(x any) { object[name] = x }
		for _, n := range regexp.MustCompile(`\d+`).FindAllString(m[2], -1) {
			i, _ := strconv.Atoi(n)
			list, _ := at.([]any)
			if i > len(list) {
				return fmt.Errorf("--set %s: the list has %d entries; set [%d] first", path, len(list), len(list))
			}
			if i == len(list) {
				list = append(list, nil)
				put(list)
			}
			at, put = list[i], func(x any) { list[i] = x }
		}
	}
	put(v)
	return nil
}
