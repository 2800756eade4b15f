package main

import (
	"context"

	"argosy.dev/argosy/node"
)

// runNode runs this machine as the command line said. To be told to stop is no failure of a machine.
func runNode(ctx context.Context, u upConfig) error {
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	return node.Run(life, node.Config{
		Data: u.data, Socket: u.socket, Listen: u.listen, PeerListen: u.peerListen, ConfigListen: u.configListen, Name: u.name, Metadata: u.metadata, Capacity: u.capacity, Runtime: u.runtime,
		StopUnits: u.stopUnits, Version: version, Log: u.log, Ready: u.ready,
	})
}
