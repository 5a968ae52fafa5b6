package libvirt

import (
	"encoding/xml"
	"fmt"
	"time"

	"github.com/cairn-cloud/cairn/agent"
)

// markNamespace is the XML namespace of the mark, under which libvirt keeps it.
const markNamespace = "https://cairn.cloud/xmlns/1"

// markPrefix is the namespace's prefix in the domain XML.
const markPrefix = "cairn"

// markWritten is the mark as it is written: encoding/xml knows no prefixes, so
// the name spells it out.
type markWritten struct {
	XMLName xml.Name `xml:"cairn:instance"`
	XMLNS   string   `xml:"xmlns:cairn,attr"`
	markAttrs
}

// markPlain is the mark as libvirt hands it out and takes it on a domain that
// exists: without the namespace, which travels beside it.
type markPlain struct {
	XMLName xml.Name
	markAttrs
}

type markAttrs struct {
	ID         string `xml:"id,attr"`
	Project    string `xml:"project,attr"`
	Epoch      int64  `xml:"epoch,attr"`
	Generation int64  `xml:"generation,attr"`
	Digest     string `xml:"digest,attr"`
	Reboots    int64  `xml:"reboots,attr"`
	Asked      int64  `xml:"reboot_asked,attr,omitempty"`
	Sent       int64  `xml:"sent,attr,omitempty"`
	Power      string `xml:"power,attr,omitempty"`
	StartedAt  string `xml:"started_at,attr,omitempty"`
}

// markXML is the mark as a part of the domain XML.
func markXML(m agent.Mark) (string, error) {
	return marshalMark(m, markWritten{XMLNS: markNamespace, markAttrs: attrs(m)})
}

// plainMarkXML is the mark as virDomainSetMetadata takes it.
func plainMarkXML(m agent.Mark) (string, error) {
	return marshalMark(m, markPlain{XMLName: xml.Name{Local: "instance"}, markAttrs: attrs(m)})
}

func marshalMark(m agent.Mark, v any) (string, error) {
	b, err := xml.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("mark of domain %s: %w", m.Instance, err)
	}
	return string(b), nil
}

func attrs(m agent.Mark) markAttrs {
	a := markAttrs{
		ID: m.Instance, Project: m.Project, Epoch: m.Epoch, Generation: m.Generation,
		Digest: m.Digest, Reboots: m.Reboots, Asked: m.RebootAsked, Sent: m.Sent, Power: string(m.Power),
	}
	if !m.StartedAt.IsZero() {
		a.StartedAt = m.StartedAt.UTC().Format(time.RFC3339Nano)
	}
	return a
}

func parseMark(s string) (agent.Mark, error) {
	var r markPlain
	if err := xml.Unmarshal([]byte(s), &r); err != nil {
		return agent.Mark{}, fmt.Errorf("read a domain's mark: %w", err)
	}
	if r.XMLName.Local != "instance" || r.ID == "" {
		return agent.Mark{}, fmt.Errorf("read a domain's mark: it is <%s> with the ID %q, not an instance", r.XMLName.Local, r.ID)
	}
	m := agent.Mark{
		Instance: r.ID, Project: r.Project, Epoch: r.Epoch, Generation: r.Generation,
		Digest: r.Digest, Reboots: r.Reboots, RebootAsked: r.Asked, Sent: r.Sent, Power: agent.MarkPower(r.Power),
	}
	if r.StartedAt != "" {
		t, err := time.Parse(time.RFC3339Nano, r.StartedAt)
		if err != nil {
			return agent.Mark{}, fmt.Errorf("read the mark of domain %s: started_at: %w", r.ID, err)
		}
		m.StartedAt = t
	}
	return m, nil
}
