package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"

	"github.com/cairn-cloud/cairn/api"
)

// desired keeps the host's desired state from what the stream says of it. Its
// maps are replaced and never changed, so a copy of want may be read by others
// while it goes on.
type desired struct {
	want   api.HostDesired
	known  bool // read from the disk, or synced
	synced bool // the stream has named all once

	// said is what the stream has named since it began anew; nil once it has
	// named all. Until then nothing is dropped.
	said map[string]bool
}

// loadDesired reads the last desired state; that there is none is no error.
func loadDesired(path string) (*desired, error) {
	d := &desired{said: map[string]bool{}}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		d.want = api.NewHostDesired()
		return d, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the last desired state: %w", err)
	}
	d.want = api.NewHostDesired()
	if err := json.Unmarshal(b, &d.want); err != nil {
		return nil, fmt.Errorf("read the last desired state from %s: %w (if the file is damaged remove it; the control plane says it again)", path, err)
	}
	if err := whole(&d.want); err != nil {
		return nil, fmt.Errorf("read the last desired state from %s: %w", path, err)
	}
	d.known = true
	return d, nil
}

// whole gives a desired state its maps, and refuses one whose keys are not the
// IDs of what is under them.
func whole(d *api.HostDesired) error {
	empty := api.NewHostDesired()
	if d.Instances == nil {
		d.Instances = empty.Instances
	}
	if d.Networks == nil {
		d.Networks = empty.Networks
	}
	if d.Ports == nil {
		d.Ports = empty.Ports
	}
	if d.Floating == nil {
		d.Floating = empty.Floating
	}
	if d.Groups == nil {
		d.Groups = empty.Groups
	}
	for id, x := range d.Floating {
		if x.ID != id {
			return misnamed(id, x.ID)
		}
	}
	for id, x := range d.Groups {
		if x.ID != id {
			return misnamed(id, x.ID)
		}
	}
	for id, x := range d.Instances {
		if x.ID != id {
			return misnamed(id, x.ID)
		}
	}
	for id, x := range d.Networks {
		if x.ID != id {
			return misnamed(id, x.ID)
		}
	}
	for id, x := range d.Ports {
		if x.ID != id {
			return misnamed(id, x.ID)
		}
	}
	return nil
}

func misnamed(id, is string) error {
	return fmt.Errorf("under the ID %q there is %q", id, is)
}

// saveDesired writes it in one step.
func saveDesired(path string, want api.HostDesired) error {
	b, err := json.Marshal(want)
	if err != nil {
		return fmt.Errorf("save the desired state: %w", err)
	}
	if err := writeFile(path, 0o600, b); err != nil {
		return fmt.Errorf("save the desired state: %w", err)
	}
	return nil
}

// writeFile puts a file in its place in one step, and on the disk.
func writeFile(path string, mode fs.FileMode, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// restart says that the stream begins anew, with all.
func (d *desired) restart() { d.said = map[string]bool{} }

// apply takes what the stream said, and returns the instances that changed. An
// error says that a part was refused.
func (d *desired) apply(items []api.DesiredItem) (changed map[string]bool, err error) {
	changed = map[string]bool{}
	d.want.Instances = maps.Clone(d.want.Instances)
	d.want.Networks = maps.Clone(d.want.Networks)
	d.want.Ports = maps.Clone(d.want.Ports)
	d.want.Floating = maps.Clone(d.want.Floating)
	d.want.Groups = maps.Clone(d.want.Groups)
	for _, i := range items {
		switch i.Op {
		case "set":
			if e := d.set(i, changed); e != nil {
				err = errors.Join(err, e)
			}
		case "delete":
			d.delete(i, changed)
		case "synced":
			if e := d.sync(i.Revision, changed); e != nil {
				err = errors.Join(err, e)
			}
		default:
			err = errors.Join(err, fmt.Errorf("the stream says %q of %s %s, which this agent does not know", i.Op, i.Kind, i.ID))
		}
	}
	return changed, err
}

func (d *desired) set(i api.DesiredItem, changed map[string]bool) error {
	if d.said != nil {
		d.said[i.Kind+"/"+i.ID] = true
	}
	if i.Instance != nil && digest(d.want.Instances[i.ID]) != digest(*i.Instance) {
		changed[i.ID] = true
	}
	if i.Port != nil && i.Port.Local && digest(d.want.Ports[i.ID]) != digest(*i.Port) {
		changed[i.Port.Instance] = true
	}
	if !d.want.Set(i) {
		return fmt.Errorf("the stream sets %s %s, and what is under it is of another kind or ID", i.Kind, i.ID)
	}
	return nil
}

// delete drops what the stream says is gone; before it has named all it only
// counts as not named.
func (d *desired) delete(i api.DesiredItem, changed map[string]bool) {
	if d.said != nil {
		delete(d.said, i.Kind+"/"+i.ID)
		return
	}
	switch i.Kind {
	case api.KindInstance:
		delete(d.want.Instances, i.ID)
		changed[i.ID] = true
	case api.KindNetwork:
		delete(d.want.Networks, i.ID)
	case api.KindPort:
		delete(d.want.Ports, i.ID)
	case api.KindFloatingIP:
		delete(d.want.Floating, i.ID)
	case api.KindSecurityGroup:
		delete(d.want.Groups, i.ID)
	}
}

// sync drops what was not named. A control plane that is behind what it said
// before was restored from a backup, or is another one: what it does not name
// it may have forgotten, so nothing is dropped.
func (d *desired) sync(revision int64, changed map[string]bool) error {
	if revision < d.want.Revision {
		return fmt.Errorf("the control plane is at revision %d and has been at %d: it was restored or is another one, so what it does not name is kept until it has passed that; remove it by hand where it is not wanted", revision, d.want.Revision)
	}
	if d.said != nil {
		for id := range d.want.Instances {
			if !d.said[api.KindInstance+"/"+id] {
				delete(d.want.Instances, id)
				changed[id] = true
			}
		}
		maps.DeleteFunc(d.want.Networks, func(id string, _ api.HostNetwork) bool { return !d.said[api.KindNetwork+"/"+id] })
		maps.DeleteFunc(d.want.Ports, func(id string, _ api.HostPort) bool { return !d.said[api.KindPort+"/"+id] })
		maps.DeleteFunc(d.want.Floating, func(id string, _ api.HostFloating) bool { return !d.said[api.KindFloatingIP+"/"+id] })
		maps.DeleteFunc(d.want.Groups, func(id string, _ api.HostGroup) bool { return !d.said[api.KindSecurityGroup+"/"+id] })
		d.said = nil
	}
	d.want.Revision = revision
	d.known, d.synced = true, true
	return nil
}
