package scenario

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"argosy.dev/argosy/hosttest/light"
	"argosy.dev/argosy/wire"
)

// join lets a host join as a server, with a token of another one.
func (f *fleet) join(from, h *light.Host) {
	f.Helper()
	token := strings.TrimSpace(from.Run(f, inside, "-q", "token", "create", "--role", "server"))
	f.daemon(h, "join", token)
	f.answers(h)
}

// store is what a host says about the store, well or not.
func (f *fleet) store(h *light.Host) (s wire.StoreInfo) {
	out, _, _ := h.Exec(f.Context(), inside, "etcd", "status", "-o", "json")
	_ = json.Unmarshal([]byte(out), &s) // What is no answer has no members.
	return s
}

// votersAre tells whether exactly so many members vote, and all is well.
func (f *fleet) votersAre(h *light.Host, n int) bool {
	s := f.store(h)
	if !s.OK || len(s.Members) != n {
		return false
	}
	for _, m := range s.Members {
		if m.Role != "voter" || !m.Answered {
			return false
		}
	}
	return true
}

// three makes the first three hosts servers.
func (f *fleet) three() *light.Host {
	f.Helper()
	h1 := f.hosts[0]
	f.daemon(h1, "up")
	f.answers(h1)
	f.eventually("h1 listens", func() bool { _, _, code := h1.Exec(f.Context(), inside, "-q", "token", "create"); return code == 0 })
	for _, h := range f.hosts[1:3] {
		f.join(h1, h)
	}
	f.eventually("three voters", func() bool { return f.votersAre(h1, 3) })
	return h1
}

// TestRecover: two of three servers are destroyed and never come back (S21). The third goes on with one command: every
// key is there, no unit is touched, and two new hosts become voters by themselves.
func TestRecover(t *testing.T) {
	needsFull(t)
	f := newFleet(t, 5)
	h1 := f.three()
	h1.Write(t, "/root/web@.service", []byte(webTemplate))
	h1.Run(t, inside, "submit", "/root/web@.service")
	f.start(h1, "web@{1..9}")
	before := f.units(h1)

	f.must(f.hosts[0].Kill())
	f.must(f.hosts[1].Kill())
	delete(f.up, "h1")
	delete(f.up, "h2")
	left := f.hosts[2]
	began := time.Now()
	out, errs, code := left.Exec(t.Context(), inside, "recover")
	if code != 0 {
		t.Fatalf("recover: %d\n%s%s\n%s", code, out, errs, f.up["h3"].Output())
	}
	t.Logf("recover ended after %v: %s", time.Since(began).Round(time.Millisecond), strings.TrimSpace(errs))
	left.Write(t, "/root/new.service", []byte(strings.Replace(webTemplate, "%n", "new", 1)))
	left.Run(t, inside, "submit", "/root/new.service")
	t.Logf("a write is taken %v after the loss", time.Since(began).Round(time.Millisecond))

	after := f.units(left)
	for name, a := range before {
		now, there := after[name]
		switch {
		case !there:
			t.Errorf("%s is lost", name)
		case a.Machine == "h3" && (now.Status == nil || pid(now) != pid(a)):
			t.Errorf("%s ran on h3 with pid %d, now %+v", name, pid(a), now)
		}
	}

	began = time.Now()
	for _, h := range f.hosts[3:] {
		f.join(left, h)
	}
	f.eventually("three voters again", func() bool { return f.votersAre(left, 3) })
	t.Logf("two new hosts are voters %v after they began to join", time.Since(began).Round(time.Millisecond))
	f.eventually("all units are healthy", func() bool { return sum(healthyOn(f.units(left))) >= len(before) })
	for name, a := range before {
		if now := f.units(left)[name]; a.Machine == "h3" && pid(now) != pid(a) {
			t.Errorf("%s was restarted on h3", name)
		}
	}
}

// TestAddressChanges: a server gets another address, and is started with it: no command, and the store has its three
// voters again (S39).
func TestAddressChanges(t *testing.T) {
	needsFull(t)
	f := newFleet(t, 3)
	h1 := f.three()
	for i, h := range []*light.Host{f.hosts[1], f.hosts[0]} {
		ask := f.hosts[2]
		f.must(h.ChangeIP(fmt.Sprintf("10.77.5.%d", 10+i)))
		f.must(f.up[h.Name].Signal(9))
		<-f.up[h.Name].Done()
		began := time.Now()
		f.daemon(h, "up")
		f.eventually(h.Name+" votes at its new address", func() bool {
			for _, m := range f.store(ask).Members {
				if m.Name == h.Name {
					return strings.HasPrefix(m.Address, h.Address()+":") && m.Answered && f.votersAre(ask, 3)
				}
			}
			return false
		})
		t.Logf("%s has another address: three voters answer %v after its start", h.Name, time.Since(began).Round(time.Millisecond))
	}
	h1.Write(t, "/root/web@.service", []byte(webTemplate))
	h1.Run(t, inside, "submit", "/root/web@.service")
	f.start(h1, "web@{1..3}")
}
