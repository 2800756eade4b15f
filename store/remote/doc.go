// Package remote is a store.Store for machines that hold no store: it asks the servers over their HTTP API, fails over
// from one to the next, and resumes watches without gaps. Its other half, Handler, is what a server mounts at Path:
// a machine writes only its own facts there, and reads and watches only its part of the store (store.PartPrefix),
// which Parts keeps for all machines from one watch of the whole store.
//
// Who calls is told by the one who mounts the handler (WithMachine), from the caller's certificate; TLS configurations
// and the list of servers are handed in. Leading is left to servers, which reach the store in their own process.
package remote
