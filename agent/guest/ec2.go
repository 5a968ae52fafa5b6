package guest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// node is a directory or a file of the metadata. It is never changed.
type node struct {
	file    []byte // nil in a directory
	dir     map[string]*node
	listing string // of a directory, where it is not its names
}

func text(s string) *node { return &node{file: []byte(s)} }

func dir(of map[string]*node) *node { return &node{dir: of} }

// at finds what is under the path, or nil. Slashes at the end do not count.
func (n *node) at(path string) *node {
	for _, name := range strings.FieldsFunc(path, func(r rune) bool { return r == '/' }) {
		if n = n.dir[name]; n == nil {
			return nil
		}
	}
	return n
}

// content is a file's bytes, or a directory's list: a name a line, directories
// with a slash, and no newline at the end, as EC2 has it.
func (n *node) content() []byte {
	if n.dir == nil {
		return n.file
	}
	if n.listing != "" {
		return []byte(n.listing)
	}
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(n.dir)) {
		if n.dir[name].dir != nil {
			name += "/"
		}
		lines = append(lines, name)
	}
	return []byte(strings.Join(lines, "\n"))
}

// versions are the names under which the same tree is found. Clients ask for
// the one that brought in what they need.
var versions = []string{"2009-04-04", "2016-09-02", "2018-09-24", "2021-03-23", "latest"}

// treeOf is all that a guest finds at the service: EC2's layout, with only what is
// true here, and the files of cloud-init's NoCloud.
func treeOf(g guest) (*node, error) {
	version := map[string]*node{"meta-data": ec2Meta(g)}
	names := []string{"meta-data"}
	if g.instance.UserData != "" {
		version["user-data"] = &node{file: userData(g)}
		names = append(names, "user-data")
	}
	v := &node{dir: version, listing: strings.Join(names, "\n")}
	files, err := noCloud(g)
	if err != nil {
		return nil, err
	}
	seed := map[string]*node{}
	for name, b := range files {
		seed[name] = &node{file: b}
	}
	root := &node{dir: map[string]*node{"nocloud": dir(seed)}, listing: strings.Join(versions, "\n")}
	for _, name := range versions {
		root.dir[name] = v
	}
	return root, nil
}

func ec2Meta(g guest) *node {
	i := g.instance
	m := map[string]*node{
		"instance-id": text(i.ID), "ami-id": text(i.Image.ID),
		"hostname": text(i.Name), "local-hostname": text(i.Name),
	}
	if len(g.nics) > 0 {
		m["local-ipv4"], m["mac"] = text(g.nics[0].address().String()), text(g.nics[0].mac.String())
		macs := map[string]*node{}
		for at, n := range g.nics {
			macs[n.mac.String()] = ec2NIC(i.Name, at, n)
		}
		m["network"] = dir(map[string]*node{"interfaces": dir(map[string]*node{"macs": dir(macs)})})
	}
	if keys := publicKeys(g); len(keys) > 0 {
		d := &node{dir: map[string]*node{}}
		var lines []string
		for at, k := range keys {
			d.dir[strconv.Itoa(at)] = dir(map[string]*node{"openssh-key": text(k)})
			lines = append(lines, fmt.Sprintf("%d=key-%d", at, at)) // EC2's form: index=name
		}
		d.listing = strings.Join(lines, "\n")
		m["public-keys"] = d
	}
	return dir(m)
}

func ec2NIC(hostname string, at int, n nic) *node {
	var v4, v6 []string
	for _, a := range n.addresses {
		if a.Is4() {
			v4 = append(v4, a.String())
		} else {
			v6 = append(v6, a.String())
		}
	}
	m := map[string]*node{
		"device-number": text(strconv.Itoa(at)), "interface-id": text(n.port.ID), "local-hostname": text(hostname),
		"local-ipv4s": text(strings.Join(v4, "\n")), "mac": text(n.mac.String()),
		"subnet-id": text(n.addresses[0].id), "subnet-ipv4-cidr-block": text(n.subnet().CIDR.String()), "vpc-id": text(n.port.Network),
	}
	if len(v6) > 0 {
		m["ipv6s"] = text(strings.Join(v6, "\n"))
	}
	return dir(m)
}
