package api

import "net/netip"

// HostDesired is all that one host must make true, and all that its agent may
// know of the cloud.
type HostDesired struct {
	Revision  int64                   `json:"revision"`
	Host      HostSpec                `json:"host"`
	Instances map[string]HostInstance `json:"instances"`
	Networks  map[string]HostNetwork  `json:"networks"`
	Ports     map[string]HostPort     `json:"ports"`
	Floating  map[string]HostFloating `json:"floating,omitempty"`
	Groups    map[string]HostGroup    `json:"groups,omitempty"`
}

// NewHostDesired returns one of which nothing is wanted.
func NewHostDesired() HostDesired {
	return HostDesired{Instances: map[string]HostInstance{}, Networks: map[string]HostNetwork{}, Ports: map[string]HostPort{}, Floating: map[string]HostFloating{}, Groups: map[string]HostGroup{}}
}

// HostInstance is an instance placed on the host, with all that it needs.
type HostInstance struct {
	ID               string    `json:"id"`
	Name             string    `json:"name"`
	Project          string    `json:"project"`
	Epoch            int64     `json:"epoch"`
	Generation       int64     `json:"generation"`
	Deleting         bool      `json:"deleting,omitempty"`
	Power            Power     `json:"power"`
	StopGraceSeconds int       `json:"stop_grace_seconds"`
	Reboots          int64     `json:"reboots,omitempty"`
	HardReboot       bool      `json:"hard_reboot,omitempty"`
	Size             Size      `json:"size"`
	Architecture     string    `json:"architecture"`
	Image            HostImage `json:"image"`
	Ports            []string  `json:"ports,omitempty"`    // IDs in the order of NICs
	SSHKeys          []string  `json:"ssh_keys,omitempty"` // lines
	UserData         string    `json:"user_data,omitempty"`
	// Exclusive: it may be started elsewhere once this host is lost, so that it runs
	// here only while the control plane is known to count the host as alive.
	Exclusive bool `json:"exclusive,omitempty"`
	// CPU that the guest is given; nil: the host's own, which is not to be had elsewhere.
	CPU *CPU `json:"cpu,omitempty"`
	// Incoming: it runs on another host and is to come here. All is prepared
	// for it, and it is not started.
	Incoming *HostIncoming `json:"incoming,omitempty"`
	// Outgoing: it runs here and is to be sent to another host, which is ready.
	Outgoing *HostOutgoing `json:"outgoing,omitempty"`
}

// HostIncoming says where an instance comes from.
type HostIncoming struct {
	From string `json:"from"` // ID of the host, which alone may send it
}

// HostOutgoing says where an instance goes to.
type HostOutgoing struct {
	To        string     `json:"to"`  // ID of the host, which is the name in its certificate
	URL       string     `json:"url"` // of its agent
	Underlay  netip.Addr `json:"underlay"`
	Epoch     int64      `json:"epoch"`           // under which it is to run there
	Disks     bool       `json:"disks,omitempty"` // are copied too: the hosts share no storage
	Cold      bool       `json:"cold,omitempty"`  // is not sent: it is to be off here, and then starts there
	Cancelled bool       `json:"cancelled,omitempty"`
}

// HostImage is an image that a host fetches and verifies.
type HostImage struct {
	ID               string `json:"id"`
	SHA256           string `json:"sha256"`
	Format           string `json:"format"` // qcow2 or raw; never guessed again
	SizeBytes        int64  `json:"size_bytes"`
	VirtualSizeBytes int64  `json:"virtual_size_bytes"`
}

// HostNetwork is a network that has a port on the host.
type HostNetwork struct {
	ID      string                `json:"id"`
	VNI     uint32                `json:"vni"`
	MTU     int                   `json:"mtu,omitempty"`    // 0: the most that fits the underlay
	Domain  string                `json:"domain,omitempty"` // that its names are in
	Egress  EgressMode            `json:"egress,omitempty"` // empty: nat
	Routes  []Route               `json:"routes,omitempty"`
	Subnets map[string]HostSubnet `json:"subnets"`
}

// HostSubnet is a subnet of a HostNetwork.
type HostSubnet struct {
	CIDR       netip.Prefix `json:"cidr"`
	Gateway    netip.Addr   `json:"gateway"`
	DNSServers []netip.Addr `json:"dns_servers,omitempty"`
}

// HostPort is an entry in the map of a network: every placed port of every
// network that has a port on the host, wherever that port is.
type HostPort struct {
	ID        string        `json:"id"`
	Network   string        `json:"network"`
	Instance  string        `json:"instance"`
	Hostname  string        `json:"hostname"` // of the instance
	MAC       string        `json:"mac"`
	Addresses []PortAddress `json:"addresses"`
	Groups    []string      `json:"groups,omitempty"`    // IDs of its security groups
	Bandwidth *Bandwidth    `json:"bandwidth,omitempty"` // where it is on this host, or to come to it
	Local     bool          `json:"local,omitempty"`     // on this host
	Underlay  netip.Addr    `json:"underlay,omitzero"`   // address of the host where it is
	// Incoming: its instance is to come to this host. It has a tap here already,
	// and is reached at Underlay until its instance has arrived.
	Incoming bool `json:"incoming,omitempty"`
	// Also is the address of the host where its instance is going, from which it
	// may send as soon as it is there.
	Also netip.Addr `json:"also,omitzero"`
	// Generation of the port, where it is local: the status of the port answers to it.
	Generation int64 `json:"generation,omitempty"`
}

// HostFloating is a floating IP that leads to a port of an instance on the host,
// or on its way to it.
type HostFloating struct {
	ID      string     `json:"id"`
	Address netip.Addr `json:"address"`
	Port    string     `json:"port"`
	Inside  netip.Addr `json:"inside"` // which address of the port
}

// HostGroup is a security group of a port on the host, or on its way to it. Of
// those that its rules name, the host knows which ports have them, and no more.
type HostGroup struct {
	ID    string         `json:"id"`
	Rules []SecurityRule `json:"rules,omitempty"`
}

// DesiredItem is one difference in a HostDesired, as the stream sends it. The
// first items after connecting say all; "synced" ends them, after which the
// agent drops what was not said.
type DesiredItem struct {
	Op       string        `json:"op" enum:"set,delete,synced"`
	Kind     string        `json:"kind,omitempty" enum:"host,instance,network,security-group,port,floating-ip"`
	ID       string        `json:"id,omitempty"`
	Revision int64         `json:"revision,omitempty"` // with synced: all up to here is said
	Host     *HostSpec     `json:"host,omitempty"`
	Instance *HostInstance `json:"instance,omitempty"`
	Network  *HostNetwork  `json:"network,omitempty"`
	Port     *HostPort     `json:"port,omitempty"`
	Floating *HostFloating `json:"floating,omitempty"`
	Group    *HostGroup    `json:"group,omitempty"`
}

// Set puts what an item says where it belongs; false when the item is not whole.
func (d *HostDesired) Set(i DesiredItem) bool {
	switch {
	case i.Host != nil:
		d.Host = *i.Host
	case i.Instance != nil && i.Instance.ID == i.ID:
		d.Instances[i.ID] = *i.Instance
	case i.Network != nil && i.Network.ID == i.ID:
		d.Networks[i.ID] = *i.Network
	case i.Port != nil && i.Port.ID == i.ID:
		d.Ports[i.ID] = *i.Port
	case i.Floating != nil && i.Floating.ID == i.ID:
		d.Floating[i.ID] = *i.Floating
	case i.Group != nil && i.Group.ID == i.ID:
		d.Groups[i.ID] = *i.Group
	default:
		return false
	}
	return true
}
