package supervisor

import (
	"context"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"argosy.dev/argosy/runtime/native/internal/engine"
	"argosy.dev/argosy/runtime/native/internal/service"
)

// do hands something to the loop; false when the loop has ended.
func (in *Init) do(f func()) bool {
	select {
	case in.events <- f:
		return true
	case <-in.done:
		return false
	}
}

func (in *Init) loop(ctx context.Context, sig <-chan os.Signal) {
	defer close(in.done)
	in.reap() // Children whose SIGCHLD came to the program before us in this process.
	in.settle()
	for {
		select {
		case <-ctx.Done():
			return
		case f := <-in.events:
			f()
		case <-sig:
			in.reap()
		case <-in.timer.C:
			in.engine.Tick()
		}
		in.settle()
		if in.ending && in.engine.Quiet() {
			in.groups.Remove()
			in.lastWords()
			in.log.Info("every unit is stopped, the init process ends")
			return
		}
		if len(in.replaceBy) > 0 {
			_ = in.listener.SetDeadline(time.Unix(1, 0)) // Who connects from now on is the other program's.
			in.lastWords()
			return
		}
	}
}

// settle does what every event may have made necessary: emptied groups, state files, kicks, the next alarm.
func (in *Init) settle() {
	in.emptied()
	in.stopOverdue()
	in.flushDirty()
	wait := in.keeperWait()
	if at := in.engine.Wake(); !at.IsZero() {
		wait = max(time.Until(at), 0)
	}
	in.timer.Reset(min(wait, time.Hour))
}

// reap takes in the ends of all children, ours and orphans'.
func (in *Init) reap() {
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, unix.WNOHANG, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		in.ended(pid, ws)
	}
}

func (in *Init) ended(pid int, ws unix.WaitStatus) {
	name, ours := in.children[pid]
	delete(in.children, pid)
	u := in.engine.Get(name)
	if !ours {
		u = in.owner(pid) // A daemon that its parent left to us, known by its PID file.
	}
	if u == nil || u.Service == nil || !u.Service.Owns(pid) {
		return
	}
	e := service.Ended{Status: ws.ExitStatus()}
	if ws.Signaled() {
		e = service.Ended{Signal: int(ws.Signal()), Core: ws.CoreDump()}
	}
	in.finishProcess(u, pid, &e)
	u.Service.Ended(pid, e)
}

func (in *Init) owner(pid int) *engine.Unit {
	for _, u := range in.engine.Units() {
		if u.Service != nil && u.Service.Owns(pid) {
			return u
		}
	}
	return nil
}

// finishProcess gathers what has to be known of a process before its end is judged.
func (in *Init) finishProcess(u *engine.Unit, pid int, e *service.Ended) {
	a := in.attach(u)
	a.takeReport(pid, u.Service)
	a.flush()
	if in.count(a, u.Service) || a.starved {
		a.starved = false
		e.Starved = true
		e.OOM = e.Signal == int(unix.SIGKILL)
	}
}

// emptied tells services that wait for it that no process of theirs is left.
func (in *Init) emptied() {
	for _, u := range in.engine.Units() {
		s := u.Service
		if s == nil || s.Main != nil || s.Control != nil {
			continue
		}
		switch s.State {
		case service.Start, service.StartPost, service.Running, service.StopWatchdog, service.StopSigterm, service.StopSigkill,
			service.FinalSigterm, service.FinalSigkill:
			if in.Empty(s) {
				s.Emptied()
			} else {
				in.watchRest(u)
			}
		default: // See service.Emptied: it means nothing to them.
		}
	}
}

// watchRest waits for processes that are not our children, because an init process before us started them.
func (in *Init) watchRest(u *engine.Unit) {
	a := in.attach(u)
	if !a.adopted {
		return // Their ends come with SIGCHLD: we are their reaper.
	}
	for _, pid := range in.pids(u.Service) {
		if _, ok := a.aliens[pid]; !ok {
			in.watchAlien(u, pid, ticks(pid))
		}
	}
}
