// Package web holds the pages that the binary serves: the API's reference. It
// is files and no logic: what the pages show comes from the OpenAPI document and
// the table of problems, and goes to browsers through api/rest. They must never
// load anything from elsewhere.
package web
