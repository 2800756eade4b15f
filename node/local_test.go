package node_test

import (
	"context"
	"testing"
	"time"

	"argosy.dev/argosy/cluster"
)

// TestLocalWithoutQuorum: a server that starts while the others are away tells what runs on it, when it is asked for that.
func TestLocalWithoutQuorum(t *testing.T) {
	b := newBed(t)
	m1 := b.up("m1")
	m2 := b.join(m1, "m2", "server")
	m3 := b.join(m1, "m3", "server")
	m1.servers(3)
	m1.template("every.service", sleeper+"[X-Fleet]\nGlobal=true\n")
	m1.start("every.service")
	m1.await("one on each", func(all map[string]cluster.Answer) bool {
		a := all["every.service"]
		return a.State == cluster.Healthy && len(a.On) == 3
	})
	m2.down()
	m3.down()
	m1.down()
	m1.run()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if list, err := m1.client.Units(ctx); err == nil {
		t.Errorf("without a quorum the cluster is told: %+v", list)
	}
	m1.locally().await("its own", func(all map[string]cluster.Answer) bool {
		a := all["every.service"]
		return a.State == cluster.Healthy && len(a.On) == 1
	})
	m2.run()
	m1.await("the whole cluster again", func(all map[string]cluster.Answer) bool { return len(all["every.service"].On) == 3 })
}
