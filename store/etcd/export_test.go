package etcd

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Kill ends the member as a power cut does: it hands nothing over and says goodbye to nobody.
func (s *Store) Kill() error {
	for _, p := range s.server.Peers {
		_ = p.Close()
	}
	s.server.Server.HardStop()
	return s.Close()
}

// Empty deletes everything of Argosy.
func (s *Store) Empty(ctx context.Context) error {
	_, err := s.client.Delete(ctx, "/argosy/", clientv3.WithPrefix())
	return err
}
