package kv

import (
	"context"
	"net/http"
	"os/exec"
	"testing"
	"time"
)

// agentDoor is the door of a machine that reaches a member over TLS.
func agentDoor(t testing.TB, m *member) string {
	s := m.overNetwork(t, Caller{Who: "machine", MayWrite: func() error { return nil }})
	conf, _ := s.Client().Transport.(*http.Transport)
	return door(t, ForwardOptions{TLS: conf.TLSClientConfig, Servers: func() []string { return []string{s.Listener.Addr().String()} }})
}

// plainEtcd runs Debian's etcd, for comparison.
func plainEtcd(t testing.TB) string {
	path, err := exec.LookPath("etcd")
	if err != nil {
		t.Skip("etcd is not here: apt-get install etcd-server, to compare with")
	}
	const at = "127.88.0.1:23790"
	c := exec.Command(path, "--data-dir", t.TempDir(), "--listen-client-urls", "http://"+at, "--advertise-client-urls", "http://"+at,
		"--listen-peer-urls", "http://127.88.0.1:23800", "--initial-advertise-peer-urls", "http://127.88.0.1:23800",
		"--initial-cluster", "default=http://127.88.0.1:23800")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	cl := client(t, at)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		one, stop := context.WithTimeout(ctx, time.Second)
		_, err := cl.Get(one, "x")
		stop()
		if err == nil {
			return at
		}
	}
	t.Fatal("etcd did not answer")
	return ""
}

// BenchmarkDoors compares one client's puts and gets, one after the other, by the way that they take.
func BenchmarkDoors(b *testing.B) {
	m := newMember(b)
	doors := []struct {
		name string
		at   func(testing.TB) string
	}{
		{"server's localhost", func(t testing.TB) string { return door(t, ForwardOptions{Local: m.server}) }},
		{"agent's localhost", func(t testing.TB) string { return agentDoor(t, m) }},
		{"plain etcd", plainEtcd},
	}
	for _, d := range doors {
		b.Run(d.name, func(b *testing.B) {
			c := client(b, d.at(b))
			value := string(make([]byte, 256))
			b.Run("put", func(b *testing.B) {
				for b.Loop() {
					if _, err := c.Put(b.Context(), "k", value); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run("get", func(b *testing.B) {
				for b.Loop() {
					if _, err := c.Get(b.Context(), "k"); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run("put by 50", func(b *testing.B) {
				b.SetParallelism(25)
				b.RunParallel(func(p *testing.PB) {
					for p.Next() {
						if _, err := c.Put(b.Context(), "k", value); err != nil {
							b.Error(err)
						}
					}
				})
			})
		})
	}
}
