package supervisor

import (
	"time"

	"golang.org/x/sys/unix"

	"argosy.dev/argosy/runtime/native/internal/service"
)

// oomLater is when the counter is looked at once more after an OOM event: it grows when the killed process is chosen.
const oomLater = 100 * time.Millisecond

// watchOOM waits for OOM kills of a unit with a memory limit while its main process lives on (OOMPolicy=).
func (in *Init) watchOOM(a *attached, s *service.Service) {
	a.unwatchOOM()
	if !s.Unit.Service.Resources.MemoryMax.Set && !s.Unit.Service.Resources.MemoryLimit.Set {
		return
	}
	fd, err := a.group.WatchOOM()
	if err != nil {
		return // Load has said that the limit is not enforced; the end of a process still tells.
	}
	a.oomFD = fd
	look := func() { in.do(func() { in.oomLook(a) }) }
	err = in.poller.Add(fd, func() {
		var b [4096]byte
		_, _ = unix.Read(fd, b[:]) // What it says is only: look.
		look()
		time.AfterFunc(oomLater, look)
	})
	if err != nil {
		a.unwatchOOM()
	}
}

func (in *Init) oomLook(a *attached) {
	u := in.engine.Get(a.name)
	if u == nil || u.Service == nil || u.Service.State.Down() || !in.count(a, u.Service) {
		return
	}
	a.starved = true
	in.Dirty(u)
	if s := u.Service; s.Main == nil || alive(s.Main.PID) {
		s.OOMKilled()
	} // Else its own end is on its way, and tells.
}

func (a *attached) unwatchOOM() {
	a.starved = false
	if a.oomFD > 0 {
		a.in.poller.Remove(a.oomFD)
		_ = unix.Close(a.oomFD)
		a.oomFD = 0
	}
}
