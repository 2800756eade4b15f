package supervisor

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"argosy.dev/argosy/runtime/native/internal/cgroup"
	"argosy.dev/argosy/runtime/native/internal/engine"
	"argosy.dev/argosy/runtime/native/internal/journal"
	"argosy.dev/argosy/runtime/native/internal/service"
	"argosy.dev/argosy/runtime/native/internal/spawn"
)

// attached is what the init process holds open for one unit.
type attached struct {
	in      *Init
	name    string
	group   *cgroup.Group
	log     *journal.Log
	streams [2]*journal.Stream // stdout and stderr; nil until a process needs it.
	reports map[int]int        // Process to the pipe over which its set-up reports.

	adopted bool        // Started by an init process before us: its processes are not our children.
	aliens  map[int]int // Processes that are not our children, to a pidfd.
	oomFD   int         // Tells of OOM kills; 0: none.
	starved bool        // An OOM kill was counted that no end of a process has told of yet.
	credRun string      // The run that the credentials were put down for.

	notifyFD   int // -1: none.
	notifyPath string
}

// groupName is the name of our folder in the cgroup hierarchies: of one data folder, whatever its path.
func groupName(dir string) string {
	sum := sha256.Sum256([]byte(dir))
	return "argosy-" + hex.EncodeToString(sum[:6])
}

// shortName is a file name for a unit that is short enough for a socket's path.
func shortName(unit string) string {
	sum := sha256.Sum256([]byte(unit))
	return hex.EncodeToString(sum[:8])
}

func (in *Init) attach(u *engine.Unit) *attached {
	if a := in.rt[u.Name]; a != nil {
		return a
	}
	a := &attached{in: in, name: u.Name, group: in.groups.Group(u.Name), reports: map[int]int{}, aliens: map[int]int{}, notifyFD: -1}
	l, err := journal.Open(in.journalDir(u.Name), func(err error) {
		in.log.Error("lines of a unit are lost: its journal cannot be written", "unit", u.Name, "error", err)
	})
	if err != nil {
		in.log.Error("a unit has no journal", "unit", u.Name, "error", err)
	}
	a.log = l
	in.rt[u.Name] = a
	return a
}

func (in *Init) journalDir(unit string) string { return filepath.Join(in.dir, "journal", unit) }

// stream opens the pipe for stdout (0) or stderr (1) of the unit's processes.
func (a *attached) stream(i, uid int) (string, error) {
	if s := a.streams[i]; s != nil {
		return s.Path(), s.Own(uid)
	}
	name := [2]string{"stdout", "stderr"}[i]
	s, err := journal.OpenStream(a.log, name, filepath.Join(a.in.runDir, "io", shortName(a.name)+"."+name), uid)
	if err != nil {
		return "", err
	}
	a.streams[i] = s
	return s.Path(), a.in.poller.Add(s.FD(), func() { s.Read(a.in.readBuf) })
}

func (a *attached) flush() {
	for _, s := range a.streams {
		if s != nil {
			s.Flush(a.in.flushBuf)
		}
	}
}

// watchReport waits for the helper of a process to report or to be done.
func (a *attached) watchReport(st spawn.Started, s *service.Service) {
	a.reports[st.PID] = st.Report
	err := a.in.poller.Once(st.Report, func() {
		a.in.do(func() {
			if a.takeReport(st.PID, s) {
				s.Executed(st.PID)
			}
		})
	})
	if err != nil {
		a.in.log.Error("a start cannot be watched", "unit", a.name, "error", err)
	}
}

// takeReport reads a helper's report; true when the program was executed.
func (a *attached) takeReport(pid int, s *service.Service) bool {
	fd, ok := a.reports[pid]
	if !ok {
		return false
	}
	buf := make([]byte, 64<<10)
	n, err := unix.Read(fd, buf)
	if err == unix.EAGAIN {
		return false
	}
	a.in.poller.Remove(fd)
	_ = unix.Close(fd)
	delete(a.reports, pid)
	f := spawn.ParseReport(buf[:max(n, 0)])
	if f == nil {
		return true
	}
	s.SetupFailed(pid, f.Reason)
	a.say(f.Reason.Message())
	return false
}

func (a *attached) say(text string) {
	if a.log != nil {
		a.log.Append(time.Now(), "argosy", text)
	}
}

func (a *attached) close() {
	for i, s := range a.streams {
		if s != nil {
			a.in.poller.Remove(s.FD())
			s.Close()
			a.streams[i] = nil
		}
	}
	a.unwatchOOM()
	if a.notifyFD >= 0 {
		a.in.poller.Remove(a.notifyFD)
		_ = unix.Close(a.notifyFD)
		a.notifyFD = -1
	}
	for _, m := range []map[int]int{a.reports, a.aliens} {
		for pid, fd := range m {
			a.in.poller.Remove(fd)
			_ = unix.Close(fd)
			delete(m, pid)
		}
	}
	if a.log != nil {
		a.log.Close()
	}
}

// forget removes everything of a unit that was unloaded but its journal: people ask for that afterwards.
func (a *attached) forget() {
	paths := []string{filepath.Join(a.in.runDir, "notify", shortName(a.name))}
	for _, s := range a.streams {
		if s != nil {
			paths = append(paths, s.Path())
		}
	}
	a.close()
	a.group.Remove()
	for _, p := range paths {
		if err := os.RemoveAll(p); err != nil {
			a.in.log.Warn("a file of an unloaded unit stays", "unit", a.name, "error", err)
		}
	}
	a.in.dropState(a.name)
	delete(a.in.rt, a.name)
}
