package supervisor

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"argosy.dev/argosy/runtime/native/internal/engine"
	"argosy.dev/argosy/runtime/native/internal/service"
	"argosy.dev/argosy/unit"
)

// kept is a unit's state file: everything an init process after us needs to go on.
type kept struct {
	V       int                 `json:"v"`
	Boot    string              `json:"boot"` // Process numbers mean something on this boot only.
	Name    string              `json:"name"`
	Hash    string              `json:"hash"`
	Def     *unit.Unit          `json:"def"`
	Service *service.Record     `json:"service,omitempty"`
	Timer   *engine.TimerRecord `json:"timer,omitempty"`
	Job     string              `json:"job,omitempty"`
}

// stateVersion of kept.
const stateVersion = 1

func (in *Init) statePath(unit string) string { return filepath.Join(in.dir, "units", unit+".json") }

// previous is the state file before the last one.
const previous = ".before"

// keep writes what is known of a unit: a checksum, then JSON, into a new file that takes the old one's place.
func (in *Init) keep(u *engine.Unit) {
	k := kept{V: stateVersion, Boot: in.boot, Name: u.Name, Hash: u.Hash, Def: u.Def, Job: u.Job()}
	if u.Service != nil {
		k.Service = &u.Service.Record
	}
	if u.Timer != nil {
		k.Timer = &u.Timer.TimerRecord
	}
	raw, err := json.Marshal(&k)
	if err == nil {
		err = writeState(in.statePath(u.Name), raw)
	}
	if err != nil && !in.stateFailed {
		in.log.Error("the state of units cannot be kept: it is lost when the init process is killed", "unit", u.Name, "error", err)
	}
	in.stateFailed = err != nil
}

func writeState(path string, raw []byte) error {
	sum := sha256.Sum256(raw)
	tmp := path + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(bytes.Join([][]byte{hex.AppendEncode(nil, sum[:]), raw}, []byte("\n")))
	// No fsync: the file has to outlive this process. What outlives a power loss is the agent's business, and a torn
	// file is noticed by its checksum.
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	// The old file gets a second name first, so that there is a file under both names at every moment, also when we are
	// killed in between.
	link := path + ".old"
	if err := os.Remove(link); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if os.Link(path, link) == nil { // The first time there is none, and some file systems know no links: then there is one file less.
		if err := os.Rename(link, path+previous); err != nil {
			return err
		}
	}
	return os.Rename(tmp, path)
}

func (in *Init) dropState(unit string) {
	for _, p := range []string{in.statePath(unit), in.statePath(unit) + previous, in.statePath(unit) + ".old"} {
		if err := os.Remove(p); err != nil && !errors.Is(err, os.ErrNotExist) {
			in.log.Warn("the state file of an unloaded unit stays", "unit", unit, "error", err)
		}
	}
}

func readState(path string) (*kept, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	sum, body, ok := bytes.Cut(raw, []byte("\n"))
	want := sha256.Sum256(body)
	if !ok || string(sum) != hex.EncodeToString(want[:]) {
		return nil, fmt.Errorf("%s: the checksum is wrong", path)
	}
	k := &kept{}
	if err := json.Unmarshal(body, k); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if k.V != stateVersion || k.Def == nil || !safeName(k.Name) {
		return nil, fmt.Errorf("%s: version %d is not known", path, k.V)
	}
	return k, nil
}

// restore takes in what an init process before us knew, and takes over what runs.
func (in *Init) restore() {
	in.restoreKeeper()
	names, err := os.ReadDir(filepath.Join(in.dir, "units"))
	if err != nil {
		in.log.Error("what ran before is not known", "error", err)
		return
	}
	seen := map[string]bool{}
	var all []*kept
	stale := map[string]bool{} // What is known of these is older than the last that was.
	for _, n := range names {
		base := strings.TrimSuffix(n.Name(), previous)
		if seen[base] || !strings.HasSuffix(base, ".json") {
			continue
		}
		seen[base] = true
		path := filepath.Join(in.dir, "units", base)
		k, err := readState(path)
		if err != nil {
			in.log.Error("a state file is not good, the one before it is taken", "error", err)
			if k, err = readState(path + previous); err != nil {
				in.log.Error("a unit's state is lost", "error", err)
				continue
			}
			stale[k.Name] = true
		}
		all = append(all, k)
	}
	for _, k := range all {
		in.adopt(k)
	}
	for _, k := range all {
		if stale[k.Name] {
			in.adoptLive(in.engine.Get(k.Name))
		}
		in.settleAdopted(k)
	}
}

// adopt makes the unit as it was.
func (in *Init) adopt(k *kept) {
	u := in.engine.Load(k.Name, k.Hash, k.Def)
	a := in.attach(u)
	same := k.Boot == in.boot
	if u.Service != nil && k.Service != nil {
		u.Service.Record = *k.Service
		if !same {
			u.Service.Rebooted()
		}
		a.log.SetRun(u.Service.Invocation, u.Service.MainPID())
	}
	if u.Timer != nil && k.Timer != nil {
		u.Timer.TimerRecord = *k.Timer
		if !same {
			u.Timer.Rebooted()
		}
	}
	if s := u.Service; s != nil && !s.State.Down() {
		a.adopted = !in.same
		a.credRun = s.Invocation
		if err := in.reopen(a, s); err != nil {
			in.log.Error("a running unit's streams are lost", "unit", u.Name, "error", err)
		}
	}
}

// reopen opens the pipes and the socket that the unit's processes still hold.
func (in *Init) reopen(a *attached, s *service.Service) error {
	id, _ := identify(s.Name, &s.Unit.Service.Exec)
	uid := -1
	if id.set {
		uid = id.user.UID
	}
	in.watchOOM(a, s)
	for i := range a.streams {
		if _, err := a.stream(i, uid); err != nil {
			return err
		}
	}
	if s.WantsNotify() {
		if _, err := a.notifySocket(); err != nil {
			return err
		}
	}
	return nil
}

// adoptLive takes over what runs although the state that could be read does not know it: the first process of the
// unit that leads a session, as every process that we start does.
func (in *Init) adoptLive(u *engine.Unit) {
	s := u.Service
	if s == nil || s.Main != nil && ticks(s.Main.PID) == s.Main.Ticks {
		return
	}
	for _, pid := range in.pids(s) {
		f := stat(pid)
		if f == nil || f[3] != strconv.Itoa(pid) {
			continue
		}
		s.Rebooted()
		s.TakeOver(service.Proc{PID: pid, Ticks: ticks(pid), Directive: service.ExecStart, Path: exeOf(pid), At: time.Now()}, envOf(pid, "INVOCATION_ID"))
		a := in.attach(u)
		a.adopted, a.credRun = true, s.Invocation
		a.log.SetRun(s.Invocation, pid)
		if err := in.reopen(a, s); err != nil {
			in.log.Error("a running unit's streams are lost", "unit", u.Name, "error", err)
		}
		in.Say(s, "Taken over as it runs: its state file was not good.")
		return
	}
}

// settleAdopted looks what became of the unit's processes, once every unit is there.
func (in *Init) settleAdopted(k *kept) {
	u := in.engine.Get(k.Name)
	s := u.Service
	if s == nil {
		if u.Timer != nil {
			u.Timer.Resume()
		}
		return
	}
	if s.State.Down() {
		in.killLeftovers(s)
	}
	for _, p := range []*service.Proc{s.Main, s.Control} {
		if p == nil {
			continue
		}
		if parentOf(p.PID) == os.Getpid() { // We are the same process as the init process before us.
			in.children[p.PID] = k.Name
			continue
		}
		p.Alien = true
		if !in.watchAlien(u, p.PID, p.Ticks) {
			s.Ended(p.PID, service.Ended{Unknown: true})
		}
	}
	if k.Job != "" {
		in.engine.Resume(u, k.Job)
	}
}

// watchAlien waits for the end of a process that is not our child; false when it has ended already.
func (in *Init) watchAlien(u *engine.Unit, pid int, start uint64) bool {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil || ticks(pid) != start || !alive(pid) {
		if err == nil {
			_ = unix.Close(fd)
		}
		return false
	}
	a := in.attach(u)
	a.aliens[pid] = fd
	err = in.poller.Once(fd, func() { in.do(func() { in.alienEnded(a, pid, false) }) })
	if err != nil {
		in.log.Error("the end of a process will not be noticed", "unit", u.Name, "pid", pid, "error", err)
	}
	return true
}

// reapTime is how long the reaper of a process that is not ours may take; until then its exit status is not told.
const reapTime = 2 * time.Second

// alienEnded takes in the end of a process that is not our child. late: its reaper had its time.
func (in *Init) alienEnded(a *attached, pid int, late bool) {
	fd, ok := a.aliens[pid]
	if !ok {
		return
	}
	e, known := exitOf(fd)
	if !known && !late {
		in.poller.Remove(fd)
		err := in.poller.Gone(fd, func() { in.do(func() { in.alienEnded(a, pid, true) }) })
		if err == nil {
			time.AfterFunc(reapTime, func() { in.do(func() { in.alienEnded(a, pid, true) }) })
			return
		}
	}
	in.poller.Remove(fd)
	_ = unix.Close(fd)
	delete(a.aliens, pid)
	u := in.engine.Get(a.name)
	if u == nil || u.Service == nil || !u.Service.Owns(pid) {
		return
	}
	in.finishProcess(u, pid, &e)
	u.Service.Ended(pid, e)
}

// killLeftovers ends processes of a unit that is down: an init process was killed between fork and its note of it.
func (in *Init) killLeftovers(s *service.Service) {
	if m := s.Unit.Service.KillMode; m == "process" || m == "none" {
		return // It means to leave processes behind.
	}
	if n := in.SignalRest(s, int(unix.SIGKILL)); n > 0 {
		in.Say(s, fmt.Sprintf("Killed %d left-over processes of a run before.", n))
	}
}

// bootID names this boot.
func bootID() string {
	raw, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(raw))
}
