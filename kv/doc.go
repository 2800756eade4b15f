// Package kv gives the users of a cluster an etcd: the v3 API on every machine's localhost, for their own configuration.
// It has two halves. Server answers with the member of the store in this process; every key lies under one prefix that
// is put on and taken off there, so that Argosy's own keys and leases are out of reach whatever is asked. Door listens
// on a machine's loopback address and carries requests to servers: reads are asked again elsewhere, watches and leases
// go on when the server that they used dies, and a write that may have been done is never sent twice.
//
// Who calls over the network is told by the one who mounts Server.Handler (WithCaller); TLS settings and the list of
// servers are handed in.
package kv
