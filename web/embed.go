package web

import "embed"

// Docs are the pages of the API's reference, under "docs/".
//
//go:embed docs
var Docs embed.FS
