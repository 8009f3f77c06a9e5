// Package channelsapi is the Public Channels API: openapi.yaml is written first, the Go server stub,
// the client and the models are generated from it.
package channelsapi

//go:generate go run ../problem/codes -spec openapi.yaml
//go:generate go tool -modfile=../../tools/oapi-codegen/go.mod oapi-codegen -config oapi-codegen.yaml openapi.yaml
