// Package api is Argosy's HTTP interface: JSON under /v1 with a watch stream (wire has its words), the same cluster
// as fleet's API v1 under /fleet/v1, metrics, and the OpenAPI document. It checks what people ask for and writes
// their wishes to the store; it answers from one view of the store that feeds all watchers.
//
// It decides no placement, runs no unit, and knows nothing of flags or screens: leader, agent and cmd/argosy do.
//
// docs/openapi.json is the document that it serves.
package api

//go:generate go test -run TestDocument -update .
