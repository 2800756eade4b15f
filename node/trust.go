package node

import (
	"crypto/tls"
	"net"

	"argosy.dev/argosy/audit"
	"argosy.dev/argosy/identity"
	"argosy.dev/argosy/reason"
)

// closeAudit closes the audit log when a server's life ends: the next life opens it again.
func (l *life) closeAudit(records *audit.Log) {
	l.keeper.Report(func(identity.ID, net.Addr, *reason.Reason) {})
	if err := records.Close(); err != nil {
		l.Log.Error("the audit log was not closed well", "error", err)
	}
}

// toServer is the TLS setting for a call of one server.
func (l *life) toServer(id string) *tls.Config { return l.keeper.ClientTLS(identity.KindServer, id) }
