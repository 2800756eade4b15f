package main

import (
	"context"

	"argosy.dev/argosy/node"
)

// runNode runs this machine as the command line said.
func runNode(ctx context.Context, u upConfig) error {
	return node.Run(ctx, node.Config{
		Data: u.data, Socket: u.socket, Name: u.name, Metadata: u.metadata, Capacity: u.capacity, Runtime: u.runtime,
		StopUnits: u.stopUnits, Version: version, Log: u.log, Ready: u.ready,
	})
}
