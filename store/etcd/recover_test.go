package etcd_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/store"
	"argosy.dev/argosy/store/etcd"
)

// TestForceNew destroys two of three; the third goes on alone with every key, and grows again.
func TestForceNew(t *testing.T) {
	t.Parallel()
	hs := newHosts(t)
	all := hs.group("m0", "m1", "m2")
	w := write(t, func() []*host { return all })
	<-time.After(time.Second)
	close(w.stop)
	w.wg.Wait()
	w.stop = make(chan struct{})
	for _, h := range all[1:] {
		if err := h.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	st, err := all[0].Status(t.Context())
	if err != nil || st.Majority || st.Error == "" || len(st.Members) != 3 {
		t.Errorf("status without a majority: %+v, %v", st, err)
	}
	if err := all[0].Kill(); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	o := all[0].opts
	o.ForceNew = true
	alone := hs.open(o)
	if _, err := put(t, alone, "units/a.service", "A"); err != nil {
		t.Fatal(err)
	}
	t.Logf("writable alone after %v", time.Since(begin))
	w.check(t, alone)
	if got := alone.voters(t); !slices.Equal(got, []string{"m0"}) {
		t.Errorf("voters: %v", got)
	}
	for _, h := range all[1:] { // They were not lost after all, and do not go on without the one that is the cluster now.
		hs.learnsRemoved(h)
	}
	t.Logf("those that came back know after %v", time.Since(begin))
	hs.grow(alone, "m7")
	hs.grow(alone, "m8")
	t.Logf("three again after %v", time.Since(begin))
}

// TestSnapshot restores what was there when the snapshot was made, under revisions that nobody has seen.
func TestSnapshot(t *testing.T) {
	hs := newHosts(t)
	o := hs.options("m0")
	a := hs.open(o)
	for i := range 100 {
		if _, err := put(t, a, fmt.Sprintf("units/u@%d.service", i), "x"); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(hs.dir, "snap.db")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if err := errors.Join(a.Snapshot(t.Context(), f), f.Close()); err != nil {
		t.Fatal(err)
	}
	t.Logf("a snapshot took %v", time.Since(begin))
	last, err := put(t, a, "units/later.service", "x")
	if err != nil {
		t.Fatal(err)
	}
	info, err := etcd.Verify(file)
	if err != nil || info.Keys < 100 || info.Revision < 100 || info.Revision >= last {
		t.Fatalf("verify: %+v, %v", info, err)
	}
	if err := etcd.Restore(file, o); err == nil {
		t.Error("a restore over a store in use")
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if err := etcd.Restore(file, o); err == nil {
		t.Error("a restore over a store")
	}
	o.Dir = filepath.Join(hs.dir, "restored")
	begin = time.Now()
	o.Log = slog.New(slog.DiscardHandler)
	if err := etcd.Restore(file, o); err != nil {
		t.Fatal(err)
	}
	t.Logf("a restore took %v", time.Since(begin))
	b := hs.open(o)
	pic, err := b.Read(t.Context(), "units/")
	if err != nil || len(pic.Entries) != 100 || pic.Revision < last+100_000 {
		t.Fatalf("restored %d keys at revision %d (lost one: %d), %v", len(pic.Entries), pic.Revision, last, err)
	}
	if got := <-b.Watch(t.Context(), "", last); !errors.Is(got.Err, store.ErrCompacted) {
		t.Errorf("a watcher of the lost store sees %+v", got)
	}
	hs.grow(b, "m1")

	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)/2] ^= 1
	for what, bad := range map[string][]byte{"flipped": text, "cut": text[:len(text)-100], "empty": nil} {
		name := filepath.Join(hs.dir, what)
		if err := os.WriteFile(name, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := etcd.Verify(name); err == nil {
			t.Errorf("a %s snapshot passes", what)
		} else {
			t.Log(err)
		}
	}
}

// TestColdStart: all members were off. Each waits for the others and takes part meanwhile; nothing is lost.
func TestColdStart(t *testing.T) {
	t.Parallel()
	hs := newHosts(t)
	all := hs.group("m0", "m1", "m2")
	named(t, all[0], 3)
	if _, err := put(t, all[0], "units/a.service", "A"); err != nil {
		t.Fatal(err)
	}
	for _, h := range all {
		if err := h.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	lone := all[0].opts
	lone.Peer, lone.Log = etcd.Peer{}, slog.New(slog.DiscardHandler)
	if _, err := etcd.Open(t.Context(), lone); err == nil || !strings.Contains(err.Error(), "one of 3 members") {
		t.Errorf("one of three without an address: %v", err)
	}
	begin := time.Now()
	first := hs.open(all[0].opts)
	t.Logf("the first is open after %v", time.Since(begin))
	if err := first.Health(t.Context()); err == nil || reason.From(err).Code != reason.StoreUnavailable {
		t.Errorf("alone: %v", err)
	}
	begin = time.Now()
	hs.open(all[1].opts)
	t.Logf("the second is open after %v", time.Since(begin))
	retry(t, "health", first.Health)
	pic, err := first.Read(t.Context(), "")
	if err != nil || len(pic.Entries) != 1 {
		t.Errorf("after a cold start: %+v, %v", pic, err)
	}
}

// TestStrangersAreNotServed: who has no certificate of the members' authority is not answered.
func TestStrangersAreNotServed(t *testing.T) {
	hs := newHosts(t)
	o := hs.options("m0")
	hs.open(o)
	stranger := newHosts(t).peer()
	own, err := tls.LoadX509KeyPair(o.Peer.CertFile, o.Peer.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	other, err := tls.LoadX509KeyPair(stranger.CertFile, stranger.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	for what, certs := range map[string][]tls.Certificate{"none": nil, "another authority's": {other}, "a member's": {own}} {
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{
			Certificates: certs, InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, //nolint:gosec // The stranger does not care.
		}}}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, o.Peer.URL()+"/members", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err == nil {
			_ = resp.Body.Close()
			if what != "a member's" {
				t.Errorf("with %s certificate: %s", what, resp.Status)
			}
		} else if what == "a member's" {
			t.Errorf("with a member's certificate: %v", err)
		}
		client.CloseIdleConnections()
	}
	plain, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+o.Peer.Listen+"/members", nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := http.DefaultClient.Do(plain); err == nil {
		t.Errorf("without TLS: %s", resp.Status)
		_ = resp.Body.Close()
	}
}

// TestJoinIsTriedAgain: what a machine was told to join with is out of date; with what is right it joins.
func TestJoinIsTriedAgain(t *testing.T) {
	t.Parallel()
	hs := newHosts(t)
	a, o := hs.open(hs.options("m0")), hs.options("m1")
	join, err := a.AddLearner(t.Context(), "m1", o.Peer.URL())
	if err != nil {
		t.Fatal(err)
	}
	o.Log = slog.New(slog.DiscardHandler)
	for what, wrong := range map[string]string{
		"one that is gone":  join + ",m9=" + hs.peer().URL(),
		"another address":   "m0=" + hs.peer().URL() + ",m1=" + o.Peer.URL(),
		"not the one added": "m0=" + a.opts.Peer.URL() + ",m1=" + hs.peer().URL(),
	} {
		o.Join = wrong
		if s, err := etcd.Open(t.Context(), o); !errors.Is(err, etcd.ErrJoin) {
			t.Errorf("%s: %v", what, err)
			if s != nil {
				_ = s.Close()
			}
		}
	}
	o.Join = join
	n := hs.open(o)
	retry(t, "promote", func(ctx context.Context) error { return a.Promote(ctx, n.ID()) })
}

// TestFullOfThree: three members reach their quota, and heal by themselves when people have deleted something.
func TestFullOfThree(t *testing.T) {
	t.Parallel()
	hs := newHosts(t)
	hs.quota = 16 << 20
	all := hs.group("m0", "m1", "m2")
	var err error
	n := 0
	for ; err == nil && n < 100; n++ {
		_, err = put(t, all[n%3], fmt.Sprintf("units/u@%d.service", n), strings.Repeat("x", 1<<19))
	}
	if reason.From(err).Code != reason.StoreFull {
		t.Fatalf("after %d writes: %v", n, err)
	}
	st, err := all[2].Status(t.Context())
	if err != nil || !st.Majority || st.Error == "" || len(st.Members) != 3 || slices.ContainsFunc(st.Members, func(m etcd.MemberStatus) bool { return !m.Reached }) ||
		!slices.ContainsFunc(st.Members, func(m etcd.MemberStatus) bool { return slices.Contains(m.Alarms, "NOSPACE") }) {
		t.Errorf("status of a full store: %+v, %v", st, err)
	}
	for i := range n - 1 {
		if _, err := all[0].Write(t.Context(), ann, store.Delete(fmt.Sprintf("units/u@%d.service", i))); err != nil {
			t.Fatalf("a deletion: %v", err)
		}
	}
	begin := time.Now()
	for err = errors.New("full"); err != nil && time.Since(begin) < patience; <-time.After(pauseFull) {
		_, err = put(t, all[1], "units/a.service", "A")
	}
	if err != nil {
		st, serr := all[0].Status(t.Context())
		t.Fatalf("it does not heal: %v; %+v, %v", err, st, serr)
	}
	t.Logf("full after %d writes, healed %v after space was made", n, time.Since(begin))
}

const pauseFull = 50 * time.Millisecond
