// Package web holds the pages that the binary serves: the API's reference. It
// is files and no code: what is in them comes from the OpenAPI document, and
// they load nothing from elsewhere.
package web

import "embed"

// Docs are the pages of the API's reference, under "docs/".
//
//go:embed docs
var Docs embed.FS
