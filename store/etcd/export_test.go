package etcd

// Kill ends the member as a power cut does: it hands nothing over and says goodbye to nobody.
func (s *Store) Kill() error {
	for _, p := range s.server.Peers {
		_ = p.Close()
	}
	s.server.Server.HardStop()
	return s.Close()
}
