package api

import (
	"net/url"
)

// Image is a disk that instances start from. Its bytes come by upload
// (PATCH …/data) or are imported from a URL; they never change once ready.
type Image struct {
	Resource[ImageSpec, ImageStatus]
}

// ImageSpec is what is wanted of an image.
type ImageSpec struct {
	Description  string `json:"description,omitempty" doc:"Free text for people." maxLength:"1024"`
	SourceURL    string `json:"source_url,omitempty" doc:"Import from this http(s) URL. Absent: upload the bytes." maxLength:"2048"`
	SHA256       string `json:"sha256,omitempty" doc:"What the bytes must hash to, hexadecimal. Absent: not checked against anything, only recorded in the status." pattern:"^[0-9a-f]{64}$"`
	Architecture string `json:"architecture,omitempty" enum:"x86_64,aarch64" doc:"Default x86_64."`
	SizeBytes    int64  `json:"size_bytes,omitempty" minimum:"0" doc:"Size of the file, in bytes, where it is known; checked when all has arrived, and counted against the quota before."`
}

// ImageStatus is what is seen of an image.
type ImageStatus struct {
	Status
	Format           string `json:"format,omitempty" doc:"qcow2 or raw, found by inspection."`
	SHA256           string `json:"sha256,omitempty" doc:"Of the stored bytes."`
	SizeBytes        int64  `json:"size_bytes,omitempty" doc:"Size of the stored file in bytes."`
	VirtualSizeBytes int64  `json:"virtual_size_bytes,omitempty" doc:"Size of the disk that a guest sees, in bytes."`
	ReceivedBytes    int64  `json:"received_bytes,omitempty" doc:"How much of an upload or import has arrived."`
}

var imageKind = kind[Image](Kind{
	Name: KindImage, Plural: "images", IDPrefix: "img", Scope: ScopeProject, Shared: true,
	Doc:     "A disk that instances start from. Images of the project \"system\" serve every project.",
	States:  []State{StatePending, StateUploading, StateImporting, StateReady, StateFailed, StateDeleting},
	Columns: []Column{{"FORMAT", "status.format"}, {"SIZE BYTES", "status.size_bytes"}, {"ARCH", "spec.architecture"}},
})

// FinalizerBlob keeps an image until its bytes are removed.
const FinalizerBlob = "blob"

// Default implements Object.
func (i *Image) Default() {
	if i.Spec.Architecture == "" {
		i.Spec.Architecture = "x86_64"
	}
	i.Finalizers = []string{FinalizerBlob}
}

// Validate implements Object.
func (i *Image) Validate() error {
	f := validateMeta(&i.Meta)
	if i.Spec.SourceURL != "" {
		u, err := url.Parse(i.Spec.SourceURL)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
			f.Add("spec.source_url", "give an http:// or https:// URL", "it is not an http(s) URL")
		} else if u.User != nil {
			f.Add("spec.source_url", "serve the image without a password, or upload it", "it holds credentials, which would be stored and shown")
		}
	}
	if s := i.Spec.SHA256; s != "" && !isHex(s, 64) {
		f.Add("spec.sha256", "give 64 lower-case hexadecimal digits", "it is not a SHA-256")
	}
	if i.Spec.SizeBytes < 0 {
		f.Add("spec.size_bytes", "", "a size cannot be negative")
	}
	return f.Err()
}

// Claims implements Object.
func (i *Image) Claims() Claims {
	c := Claims{Unique: []Unique{NameClaim(KindImage, &i.Meta)}, Refs: []Ref{{Kind: KindProject, ID: i.Project, Field: "project"}}}
	c.Counts = []Count{{Key: QuotaKey(i.Project), Amounts: map[string]int64{"image_gib": (i.Spec.SizeBytes + 1<<30 - 1) >> 30}}}
	return c
}
