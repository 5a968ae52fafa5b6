package controller

import "github.com/cairn-cloud/cairn/api"

// instanceTypeKind needs nothing: instances keep the size that they were made
// with, so a type may be changed and deleted at any time.
var instanceTypeKind = Kind{Name: api.KindInstanceType}
