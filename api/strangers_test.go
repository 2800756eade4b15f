package api

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"argosy.dev/argosy/identity"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/wire"
)

// cluster makes keepers of one cluster's members.
func keepers(t *testing.T) func(kind identity.Kind, name string) *identity.Keeper {
	t.Helper()
	a, err := identity.Found("c1", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return func(kind identity.Kind, name string) *identity.Keeper {
		t.Helper()
		key, err := identity.NewKey()
		if err != nil {
			t.Fatal(err)
		}
		chain, err := a.Issue(identity.ID{Cluster: "c1", Kind: kind, Name: name}, &key.PublicKey, nil, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		k, err := identity.NewKeeper(identity.KeeperOptions{Key: key, Chain: chain, Roots: a.Bundle().Roots})
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
}

// networked serves a handler on a loopback address over TLS until the test ends.
func networked(t *testing.T, k *identity.Keeper, h http.Handler) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := ServeTLS(ctx, l, k.ServerTLS(), h, testLog); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	return l.Addr().String()
}

// from dials from a loopback address of one's own.
func from127(ip string) *net.Dialer {
	return &net.Dialer{Timeout: 5 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
}

// callOnce makes one call on a connection of its own.
func callOnce(conf *tls.Config, d *net.Dialer, addr string) (time.Duration, error) {
	begun := time.Now()
	c := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: conf, DialContext: d.DialContext, DisableKeepAlives: true, ForceAttemptHTTP2: true}}
	resp, err := c.Get("https://" + addr + "/")
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return time.Since(begun), errors.Join(err, resp.Body.Close())
}

// TestA6SlowStrangers: 500 half-open handshakes and 500 slow headers from one address. Another address is served as
// before, nobody's connections are bounded, and memory stays.
func TestA6SlowStrangers(t *testing.T) {
	keeper := keepers(t)
	addr := networked(t, keeper(identity.KindServer, m1), http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	client := keeper(identity.KindMachine, m2).ClientTLS(identity.KindServer, "")
	measure := func() time.Duration {
		t.Helper()
		var all []time.Duration
		for range 50 {
			d, err := callOnce(client, from127("127.0.0.2"), addr)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, d)
		}
		slices.Sort(all)
		return all[len(all)-1]
	}
	quiet := measure()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var conns []net.Conn
	for i := range 1000 {
		c, err := from127("127.0.0.3").Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
		if i%2 == 0 {
			_, _ = c.Write([]byte{22, 3, 1}) // The beginning of a handshake, and no more.
			continue
		}
		go func() { // A handshake without a certificate, and the beginning of a header.
			s := tls.Client(c, &tls.Config{InsecureSkipVerify: true})
			if s.Handshake() == nil {
				_, _ = s.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\nX-Slow"))
			}
		}()
	}
	busy := measure()
	runtime.GC()
	runtime.ReadMemStats(&after)
	held := 0
	for _, c := range conns {
		_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
			held++
		}
	}
	grown := int64(after.HeapInuse+after.StackInuse) - int64(before.HeapInuse+before.StackInuse)
	t.Logf("slowest of 50: %v before, %v meanwhile; %d of 1000 held; memory %+d KiB", quiet, busy, held, grown>>10)
	if held > strangersEach {
		t.Errorf("%d connections of nobody are held, more than %d", held, strangersEach)
	}
	if busy > max(2*quiet, 250*time.Millisecond) {
		t.Errorf("another address waits %v, %v before", busy, quiet)
	}
	if grown > 100<<20 {
		t.Errorf("memory grew by %d MiB", grown>>20)
	}
	for _, c := range conns {
		_ = c.Close()
	}
}

func isTimeout(err error) bool {
	n, ok := errors.AsType[net.Error](err)
	return ok && n.Timeout()
}

// TestStrangersAreCounted: who has proved to be of the cluster is not a stranger, one who comes and goes is slowed down, and
// another address is not touched by it.
func TestStrangersAreCounted(t *testing.T) {
	s, now := newStrangers(), sourceOf("192.0.2.7:4242")
	in := 0
	for range 2 * strangersEach {
		if s.enter(now) {
			in++
		}
	}
	if in != strangersEach || !s.enter(sourceOf("192.0.2.8:1")) {
		t.Errorf("%d of one address", in)
	}
	s.leave(now, true)
	if !s.enter(now) {
		t.Error("who has proved to be a member still takes a place")
	}
	for range strangerBurst + 1 {
		s.leave(now, false)
	}
	if s.enter(now) {
		t.Errorf("more than %d that came and went are let in again", strangerBurst)
	}
	if sourceOf("[2001:db8::1]:1") != sourceOf("[2001:db8::ffff]:2") || sourceOf("[2001:db8::1]:1") == sourceOf("[2001:db8:0:1::1]:1") {
		t.Error("a site's IPv6 network is not one source")
	}
	for i := range 3 * maxSources {
		p := sourceOf(fmt.Sprintf("10.%d.%d.%d:1", i>>16, i>>8&255, i&255))
		if s.enter(p) {
			s.leave(p, false)
		}
	}
	if len(s.by) > maxSources {
		t.Errorf("%d addresses are remembered", len(s.by))
	}
}

// TestMembersAreNotLimited: a machine of the cluster makes as many connections as it likes.
func TestMembersAreNotLimited(t *testing.T) {
	keeper := keepers(t)
	addr := networked(t, keeper(identity.KindServer, m1), http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	client := keeper(identity.KindMachine, m2).ClientTLS(identity.KindServer, "")
	for i := range 3 * strangerBurst {
		if _, err := callOnce(client, from127("127.0.0.2"), addr); err != nil {
			t.Fatalf("call %d: %v", i, err)
		}
	}
}

// refusing lets nobody join.
type refusing struct{ Trust }

func (refusing) Join(context.Context, wire.JoinRequest) (wire.Credentials, error) {
	return wire.Credentials{}, reason.Because(reason.TokenUnknown, reason.Args{"id": "x"})
}

// TestA2Tries: an address that fails to join five times has to wait; another one has not.
func TestA2Tries(t *testing.T) {
	a, _, _ := auditing(t)
	a.Trust = refusing{}
	try := func(addr string) int {
		q := httptest.NewRequest(http.MethodPost, "/v1/join", http.NoBody)
		q.TLS, q.RemoteAddr = &tls.ConnectionState{}, addr
		return func() int {
			w := httptest.NewRecorder()
			err := a.limitJoins(q, func(ctx context.Context) error { _, err := a.Trust.Join(ctx, wire.JoinRequest{}); return err })
			return writeProblem(w, err)
		}()
	}
	for i := range 2 * joinsEach {
		want := http.StatusForbidden
		if i >= joinsEach {
			want = http.StatusTooManyRequests
		}
		if got := try("192.0.2.7:1"); got != want {
			t.Errorf("try %d: %d, want %d", i, got, want)
		}
	}
	if got := try("192.0.2.8:1"); got != http.StatusForbidden {
		t.Errorf("another address: %d", got)
	}
}
