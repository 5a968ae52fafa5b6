package api

import (
	"fmt"
	"time"
)

// Instance is a virtual machine.
type Instance struct {
	Resource[InstanceSpec, InstanceStatus]
	Placement Placement `json:"placement,omitempty,omitzero" readOnly:"true" doc:"Where it runs, decided by the scheduler."`
}

// InstanceSpec is what is wanted of an instance.
type InstanceSpec struct {
	Type             string            `json:"type" doc:"ID or name of the instance type."`
	Image            string            `json:"image" doc:"ID or name of the image that its root disk starts from."`
	NICs             []NIC             `json:"nics,omitempty" doc:"Network interfaces, in the order that the guest sees." maxItems:"8"`
	SSHKeys          []string          `json:"ssh_keys,omitempty" doc:"IDs or names of the SSH keys that it lets in." maxItems:"32"`
	UserData         string            `json:"user_data,omitempty" doc:"Given to cloud-init as it is: a script, #cloud-config or MIME." maxLength:"65535"`
	Power            Power             `json:"power,omitempty" enum:"on,off" doc:"Default on."`
	StopGraceSeconds *int              `json:"stop_grace_seconds,omitempty" minimum:"0" maximum:"3600" doc:"How long to wait after the ACPI power button before pulling the plug. Default 60."`
	RequiredLabels   map[string]string `json:"required_labels,omitempty" doc:"Labels that its host must have."`
	OnHostLoss       OnHostLoss        `json:"on_host_loss,omitempty" enum:"wait,restart,recreate" doc:"What becomes of it when its host is lost and off for sure: wait for the host; restart elsewhere, for which its disk is put on storage that hosts share; recreate elsewhere from its image, with what was on its disk lost. Default wait."`

	// Given by Cairn.
	Size         Size   `json:"size,omitempty,omitzero" readOnly:"true" doc:"Of the instance type when the instance was made."`
	Architecture string `json:"architecture,omitempty" readOnly:"true" doc:"Of the image."`
	Reboots      int64  `json:"reboots,omitempty" readOnly:"true" doc:"How many reboots were asked for."`
	HardReboot   bool   `json:"hard_reboot,omitempty" readOnly:"true" doc:"Whether the last reboot asked for is a reset."`
}

// Power is whether an instance is to run.
type Power string

// The powers.
const (
	PowerOn  Power = "on"
	PowerOff Power = "off"
)

// OnHostLoss is what becomes of an instance whose host is lost.
type OnHostLoss string

// What becomes of it.
const (
	OnHostLossWait     OnHostLoss = "wait"
	OnHostLossRestart  OnHostLoss = "restart"
	OnHostLossRecreate OnHostLoss = "recreate"
)

// NIC asks for a network interface: a port that exists, or a new one in a network.
type NIC struct {
	Network        string        `json:"network,omitempty" doc:"ID or name. May be left out where a subnet is given."`
	Addresses      []PortAddress `json:"addresses,omitempty" doc:"Default: one of each family (IPv4, IPv6) that the network has." maxItems:"16"`
	Port           string        `json:"port,omitempty" doc:"ID or name of a port that exists; without it one is made, and its ID is put here."`
	SecurityGroups []string      `json:"security_groups,omitzero" writeOnly:"true" doc:"IDs or names of the security groups of the port that is made. Left out: the project's group default. The port has them from then on, and they are changed there." maxItems:"8"`
	Bandwidth      *Bandwidth    `json:"bandwidth,omitempty" writeOnly:"true" doc:"How much may pass the port that is made. It is changed there."`
}

// InstanceStatus is what is seen of an instance.
type InstanceStatus struct {
	Status
	Epoch     int64      `json:"epoch,omitempty" doc:"The placement that this status answers to."`
	Host      string     `json:"host,omitempty" doc:"Name of the host."`
	Addresses []string   `json:"addresses,omitempty" doc:"Addresses of its ports."`
	Reboots   int64      `json:"reboots,omitempty" doc:"How many of the reboots asked for were done."`
	StartedAt *Timestamp `json:"started_at,omitempty" doc:"When the hypervisor last started it."`
	Migration *Migration `json:"migration,omitempty" doc:"How far the move to the placement's target is."`
	Drift     []Drift    `json:"drift,omitempty" doc:"What of its domain is not as it is wanted, while that lasts."`
}

// Placement says where an instance runs, decided by the scheduler. An agent
// runs an instance only under the current epoch.
type Placement struct {
	Host     string     `json:"host,omitempty" doc:"ID of the host; empty while none fits."`
	HostName string     `json:"host_name,omitempty" doc:"Name of the host."`
	Epoch    int64      `json:"epoch,omitempty" doc:"Raised at every move."`
	Reason   string     `json:"reason,omitempty" doc:"Why this host, or why none, in a sentence."`
	Rejected []Rejected `json:"rejected,omitempty" doc:"How many hosts each filter rejected, where none fits."`
	CPU      *CPU       `json:"cpu,omitempty" doc:"The CPU that its guest sees: the baseline of its host's pool when it was placed."`
	Target   *Target    `json:"target,omitempty" doc:"Where it is being moved."`
	From     string     `json:"from,omitempty" doc:"ID of the host where it was before."`
	Held     bool       `json:"held,omitempty" doc:"It is kept off until its host is out of maintenance."`
	Epochs   int64      `json:"epochs,omitempty" doc:"The highest epoch ever given, where that is not the epoch: of a move that came to nothing."`
}

// NextEpoch is the epoch of the next move. None is ever given twice: what a host
// was told under one that came to nothing must not mean something later.
func (p Placement) NextEpoch() int64 {
	next := max(p.Epoch, p.Epochs)
	if p.Target != nil {
		next = max(next, p.Target.Epoch)
	}
	return next + 1
}

// Target is the host that an instance is being moved to. It holds room there
// beside that on its present host, until it has arrived or the move is given up.
type Target struct {
	Host      string    `json:"host" doc:"ID of the host."`
	HostName  string    `json:"host_name" doc:"Name of the host."`
	Epoch     int64     `json:"epoch" doc:"The epoch under which it will run there."`
	Reason    string    `json:"reason" doc:"Why it is moved, and why there."`
	Drain     bool      `json:"drain,omitempty" doc:"It is moved because its host is drained."`
	Cold      bool      `json:"cold,omitempty" doc:"It is moved while it is off: its present host stops it first."`
	Cancelled bool      `json:"cancelled,omitempty" doc:"It is to stay where it is, if it has not left yet."`
	Since     time.Time `json:"since" doc:"When the move was decided."`
}

// Rejected counts the hosts that a filter rejected.
type Rejected struct {
	Filter string `json:"filter" doc:"What the hosts lacked." example:"memory"`
	Hosts  int    `json:"hosts" doc:"How many hosts it rejected."`
	Detail string `json:"detail,omitempty" doc:"The smallest shortfall, in numbers."`
}

// Migration is how far a move is, in the eyes of the two agents. Each writes
// its own half: the target's Incoming, the present host's all else.
type Migration struct {
	Epoch       int64    `json:"epoch" doc:"Of the target that this is about."`
	Incoming    Incoming `json:"incoming,omitempty" enum:"preparing,ready,arrived,failed" doc:"What the target says: preparing, ready to receive, arrived, or failed to prepare."`
	Outgoing    Outgoing `json:"outgoing,omitempty" enum:"copying,handed_over,failed" doc:"What the present host says: copying, handed over, or failed and still running here."`
	CopiedBytes int64    `json:"copied_bytes,omitempty" doc:"Of memory and disks."`
	TotalBytes  int64    `json:"total_bytes,omitempty" doc:"Of memory and disks; grows as the guest writes."`
	Percent     int      `json:"percent,omitempty" doc:"Copied of the total."`
	Message     string   `json:"message,omitempty" doc:"Why it failed."`
}

// Incoming is how far the target of a move is.
type Incoming string

// The states of the target.
const (
	IncomingPreparing Incoming = "preparing"
	IncomingReady     Incoming = "ready"   // the present host may begin
	IncomingArrived   Incoming = "arrived" // it runs there
	IncomingFailed    Incoming = "failed"  // the target cannot be made ready
)

// Outgoing is how far the present host of a move is.
type Outgoing string

// The states of the present host.
const (
	OutgoingCopying    Outgoing = "copying"
	OutgoingHandedOver Outgoing = "handed_over" // it has left, and will not run here again
	OutgoingFailed     Outgoing = "failed"      // it is still here
)

// FinalizerAgent keeps an instance until nothing of it is left on its host.
const FinalizerAgent = "agent"

type stopInput struct {
	GraceSeconds *int `json:"grace_seconds,omitempty" minimum:"0" maximum:"3600" doc:"0 pulls the plug at once."`
}

type rebootInput struct {
	Hard bool `json:"hard,omitempty" doc:"Reset instead of asking the guest."`
}

type migrateInput struct {
	To     string `json:"to,omitempty" doc:"ID or name of the host. Default: the one that fits best."`
	Cancel bool   `json:"cancel,omitempty" doc:"Give up the move that is under way."`
}

// applyMigrate says what is wanted; admission finds the host, takes the room
// there and gives the epoch.
func applyMigrate(o Object, in any) error {
	i, m := o.(*Instance), in.(*migrateInput)
	p := &i.Placement
	switch {
	case m.Cancel && m.To != "":
		return NewProblem(422, "invalid_value", "to", "leave it out", "a move that is given up leads nowhere")
	case m.Cancel && p.Target == nil:
		return NewProblem(409, "not_migrating", "placement.target", "see its events for what became of the last move", "the instance %s is not being moved", i.Name)
	case m.Cancel:
		t := *p.Target
		t.Cancelled = true
		p.Target = &t
	case p.Target != nil:
		return NewProblem(409, "already_migrating", "placement.target", "wait until it has ended, or cancel it", "the instance %s is being moved to %s", i.Name, p.Target.HostName)
	default:
		p.Target = &Target{HostName: m.To}
	}
	return nil
}

var instanceKind = kind[Instance](Kind{
	Name: KindInstance, Plural: "instances", IDPrefix: "ins", Scope: ScopeProject,
	Doc:    "A virtual machine.",
	States: []State{StatePending, StateStarting, StateRunning, StateMigrating, StateStopping, StateStopped, StateFailed, StateDeleting, StateGone},
	Actions: []Action{
		{Name: "start", Doc: "Switch the instance on.", Apply: func(o Object, _ any) error {
			i := o.(*Instance)
			if i.Spec.Power == PowerOn && i.Status.State == StateStopped {
				i.Spec.Reboots++ // its guest switched itself off: what is wanted is that it comes up again
			}
			i.Spec.Power = PowerOn
			return nil
		}},
		{Name: "stop", Doc: "Press the ACPI power button, and pull the plug after the grace time.", Input: &stopInput{}, Apply: func(o Object, in any) error {
			i := o.(*Instance)
			i.Spec.Power = PowerOff
			if g := in.(*stopInput).GraceSeconds; g != nil {
				i.Spec.StopGraceSeconds = g
			}
			return nil
		}},
		{Name: "reboot", Doc: "Restart the guest.", Input: &rebootInput{}, Apply: func(o Object, in any) error {
			i := o.(*Instance)
			if i.Spec.Power == PowerOff {
				return NewProblem(409, "instance_is_off", "spec.power", "start it instead", "the instance %s is to be off, so it cannot be rebooted", i.Name)
			}
			i.Spec.Reboots++
			i.Spec.HardReboot = in.(*rebootInput).Hard
			return nil
		}},
		{Name: "migrate", Doc: "Move the instance to another host while it runs (cloud administrators).", Input: &migrateInput{}, Apply: applyMigrate},
	},
	Columns: []Column{{"TYPE", "spec.type"}, {"ADDRESSES", "status.addresses"}, {"HOST", "placement.host_name"}},
})

// Default implements Object.
func (i *Instance) Default() {
	if i.Spec.Power == "" {
		i.Spec.Power = PowerOn
	}
	if i.Spec.StopGraceSeconds == nil {
		sixty := 60
		i.Spec.StopGraceSeconds = &sixty
	}
	if i.Spec.OnHostLoss == "" {
		i.Spec.OnHostLoss = OnHostLossWait
	}
	i.Finalizers = []string{FinalizerAgent}
}

// Validate implements Object.
func (i *Instance) Validate() error {
	f := validateMeta(&i.Meta)
	if i.Spec.Type == "" {
		f.Add("spec.type", "list the instance types to see what there is", "an instance has a type")
	}
	if i.Spec.Image == "" {
		f.Add("spec.image", "list the images to see what there is", "an instance starts from an image")
	}
	if i.Spec.Power != PowerOn && i.Spec.Power != PowerOff {
		f.Add("spec.power", "give on or off", "%q is neither on nor off", string(i.Spec.Power))
	}
	if l := i.Spec.OnHostLoss; l != "" && l != OnHostLossWait && l != OnHostLossRestart && l != OnHostLossRecreate {
		f.Add("spec.on_host_loss", "give wait, restart or recreate", "%q is none of these", string(l))
	}
	if len(i.Spec.UserData) > 65535 {
		f.Add("spec.user_data", "fetch what is larger from the guest", "%d bytes are more than 65535", len(i.Spec.UserData))
	}
	if g := i.Spec.StopGraceSeconds; g != nil && (*g < 0 || *g > 3600) {
		f.Add("spec.stop_grace_seconds", "", "%d is not between 0 and 3600", *g)
	}
	if len(i.Spec.NICs) > 8 {
		f.Add("spec.nics", "", "%d NICs are more than 8", len(i.Spec.NICs))
	}
	for n, nic := range i.Spec.NICs {
		at := fmt.Sprintf("spec.nics[%d]", n)
		if nic.Port == "" && nic.Network == "" && !namesSubnet(nic.Addresses) {
			f.Add(at, "", "it names no port, no subnet and no network")
		}
		validateAddresses(&f, at+".addresses", nic.Addresses)
		validateGroups(at+".security_groups", nic.SecurityGroups, &f)
		nic.Bandwidth.validate(at+".bandwidth", &f)
	}
	f = append(f, validateLabels("spec.required_labels", i.Spec.RequiredLabels)...)
	return f.Err()
}

// Claims implements Object.
func (i *Instance) Claims() Claims {
	amounts := i.Spec.Size.Amounts()
	amounts["instances"] = 1
	c := Claims{
		Unique: []Unique{NameClaim(KindInstance, &i.Meta)},
		Counts: []Count{{Key: QuotaKey(i.Project), Amounts: amounts}},
		Refs:   []Ref{{Kind: KindProject, ID: i.Project, Field: "project"}, {Kind: KindImage, ID: i.Spec.Image, Field: "spec.image"}},
	}
	for n, k := range i.Spec.SSHKeys {
		c.Refs = append(c.Refs, Ref{Kind: KindSSHKey, ID: k, Field: fmt.Sprintf("spec.ssh_keys[%d]", n)})
	}
	return c
}

// PlacementClaims is what an instance holds of its host while it is placed, and
// of its target while it is being moved.
func (i *Instance) PlacementClaims() (c Claims) {
	hold := func(host, field string) {
		c.Counts = append(c.Counts, Count{Key: ReservationKey(host), Amounts: i.Spec.Size.Amounts()})
		c.Refs = append(c.Refs, Ref{Kind: KindHost, ID: host, Field: field})
	}
	if i.Placement.Host != "" {
		hold(i.Placement.Host, "placement.host")
	}
	if t := i.Placement.Target; t != nil {
		hold(t.Host, "placement.target.host")
	}
	return c
}

// ReservationKey is the counter of what is reserved on a host.
func ReservationKey(host string) string { return "reservation/" + host }
