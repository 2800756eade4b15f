package etcd

import "go.etcd.io/etcd/server/v3/etcdserver"

// Server is the member itself, for package kv: it keeps users' keys beside ours, under a prefix of its own. It is there
// until Close; whoever uses it has to end first.
func (s *Store) Server() *etcdserver.EtcdServer { return s.server.Server }
