package supervisor

import (
	"crypto/rand"
	"encoding/hex"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/runtime/native/internal/engine"
	"argosy.dev/argosy/runtime/native/internal/service"
	"argosy.dev/argosy/unit"
)

// Now is the time.
func (in *Init) Now() time.Time { return time.Now() }

// NewInvocation makes an id like systemd's: 128 random bits.
func (in *Init) NewInvocation() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // Never fails (crypto/rand).
	return hex.EncodeToString(b)
}

func (in *Init) of(s *service.Service) *attached { return in.attach(in.engine.Get(s.Name)) }

// Prepare makes the cgroup and names the run in the journal.
func (in *Init) Prepare(s *service.Service) *reason.Reason {
	a := in.of(s)
	a.log.SetRun(s.Invocation, 0)
	a.credRun = ""
	a.say("Starting.")
	if err := a.group.Make(&s.Unit.Service.Resources); err != nil {
		return reason.From(err)
	}
	a.adopted = false
	in.killLeftovers(s)
	if err := a.group.Limit(&s.Unit.Service.Resources); err != nil {
		a.say("A limit is not enforced: " + err.Error())
	}
	in.watchOOM(a, s)
	return nil
}

// Spawn starts one command of a service.
func (in *Init) Spawn(s *service.Service, d string, c unit.Command) (service.Proc, *reason.Reason) {
	a := in.of(s)
	set, why := in.setup(a, s, d, c)
	if why != nil {
		return service.Proc{}, why
	}
	st, err := in.starter.Start(set)
	if err != nil {
		return service.Proc{}, reason.From(err)
	}
	in.children[st.PID] = s.Name
	a.log.SetRun(s.Invocation, st.PID)
	a.watchReport(st, s)
	return service.Proc{PID: st.PID, Ticks: ticks(st.PID), Path: set.Path, At: time.Now()}, nil
}

// Signal signals one process, if it is still the one we mean.
func (in *Init) Signal(_ *service.Service, p *service.Proc, sig int) bool {
	if p.Ticks != 0 && ticks(p.PID) != p.Ticks {
		return false
	}
	return unix.Kill(p.PID, unix.Signal(sig)) == nil
}

// SignalRest signals every other process of the service.
func (in *Init) SignalRest(s *service.Service, sig int, but ...*service.Proc) int {
	n := 0
	for _, pid := range in.pids(s) {
		if slices.ContainsFunc(but, func(p *service.Proc) bool { return p != nil && p.PID == pid }) {
			continue
		}
		if unix.Kill(pid, unix.Signal(sig)) == nil {
			n++
		}
	}
	return n
}

// Empty tells whether nothing of the service lives.
func (in *Init) Empty(s *service.Service) bool { return len(in.pids(s)) == 0 }

// pids are all processes of a service.
func (in *Init) pids(s *service.Service) []int {
	if !in.groups.Tracks() {
		return in.treeOf(s)
	}
	out := in.of(s).group.PIDs()
	for _, p := range []*service.Proc{s.Main, s.Control} { // One that was just forked has not entered the group yet.
		if p != nil && !slices.Contains(out, p.PID) && ticks(p.PID) == p.Ticks && alive(p.PID) {
			out = append(out, p.PID)
		}
	}
	return out
}

// Identify looks up a process that is to be a service's main process.
func (in *Init) Identify(s *service.Service, pid int) (service.Proc, bool) {
	t := ticks(pid)
	if pid <= 1 || pid == os.Getpid() || t == 0 || !slices.Contains(in.pids(s), pid) {
		return service.Proc{}, false
	}
	return service.Proc{PID: pid, Ticks: t, Path: exeOf(pid), At: time.Now()}, true
}

// maxPIDFile bounds what is read of a PID file.
const maxPIDFile = 64

// PIDFile reads PIDFile=.
func (in *Init) PIDFile(s *service.Service) (int, error) {
	f, err := os.Open(s.Unit.Service.PIDFile)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	buf := make([]byte, maxPIDFile)
	n, err := f.Read(buf)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(buf[:n])))
}

// Guess takes the only process of the service that is our own child.
func (in *Init) Guess(s *service.Service) (int, bool) {
	found := 0
	for _, pid := range in.pids(s) {
		if parentOf(pid) != os.Getpid() {
			continue
		}
		if found != 0 {
			return 0, false
		}
		found = pid
	}
	return found, found != 0
}

// Changed notes that a service's state has to be kept and told.
func (in *Init) Changed(s *service.Service, from service.State) {
	if s.State == service.Running && from != service.Running && from != service.Reload {
		in.Say(s, "Started.")
	}
	pid := s.MainPID()
	if s.Control != nil {
		pid = s.Control.PID // Who writes now, as far as a pipe can tell.
	}
	if pid > 0 {
		in.of(s).log.SetRun(s.Invocation, pid)
	}
	in.engine.Changed(s.Name, from)
}

// Dirty notes that a unit changed.
func (in *Init) Dirty(u *engine.Unit) { in.dirty[u.Name] = true }

// Say writes a line into a service's journal.
func (in *Init) Say(s *service.Service, text string) { in.of(s).say(text) }

// Note writes a line into a unit's journal.
func (in *Init) Note(u *engine.Unit, text string) { in.attach(u).say(text) }

// Down removes what a run leaves.
func (in *Init) Down(s *service.Service, again bool) {
	a := in.of(s)
	a.flush()
	in.count(a, s)
	a.unwatchOOM()
	a.group.Remove()
	in.removeDirs(s, again)
	in.removeCredentials(in.credentialDir(s.Name))
	if f := s.Unit.Service.PIDFile; f != "" {
		_ = os.Remove(f) // systemd does so too; it may be gone.
	}
}

// count brings the service's use of resources up to date; the tell-tale of an OOM kill is in it.
func (in *Init) count(a *attached, s *service.Service) (oomed bool) {
	use := a.group.Usage()
	if n := use.OOMKills - s.OOMSeen; n > 0 {
		s.OOMKills += n
		s.OOMSeen = use.OOMKills
		oomed = true
	}
	s.MemoryPeak = max(s.MemoryPeak, use.Peak)
	s.MemoryCurrent = use.Current
	s.CPUNanos = max(s.CPUNanos, use.CPUNanos)
	return oomed
}

// Again starts a service after RestartSec=.
func (in *Init) Again(s *service.Service) { in.engine.Again(s.Name) }
