package service

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"argosy.dev/argosy/unit"
)

// maxStatusText bounds STATUS= of sd_notify.
const maxStatusText = 4096

// notifyAccess is NotifyAccess= with systemd's default for the type.
func (s *Service) notifyAccess() string {
	a := s.def().NotifyAccess
	if (a == "" || a == "none") && (s.def().Type == unit.TypeNotify || s.def().Watchdog > 0) {
		return "main"
	}
	return a
}

// WantsNotify tells whether the service's processes get a $NOTIFY_SOCKET.
func (s *Service) WantsNotify() bool { a := s.notifyAccess(); return a != "" && a != "none" }

// mayNotify is NotifyAccess=: whether this process's word counts.
func (s *Service) mayNotify(pid int) bool {
	main, control := s.MainPID() == pid, s.Control != nil && s.Control.PID == pid
	switch s.notifyAccess() {
	case "all":
		return true
	case "exec":
		return main || control
	case "main":
		return main
	}
	return false
}

// Notify takes in a message of sd_notify(3) that process pid sent.
func (s *Service) Notify(pid int, message string) {
	if !s.mayNotify(pid) {
		return
	}
	fields := map[string]string{}
	for line := range strings.SplitSeq(message, "\n") {
		if k, v, ok := strings.Cut(line, "="); ok {
			fields[k] = v
		}
	}
	if v, ok := fields["STATUS"]; ok {
		s.StatusText = strings.ToValidUTF8(v[:min(len(v), maxStatusText)], "\uFFFD")
	}
	s.notifyMain(fields["MAINPID"])
	s.notifyTimes(fields)
	if n, err := strconv.Atoi(fields["ERRNO"]); err == nil && n > 0 {
		s.host.Say(s, fmt.Sprintf("the service reports ERRNO=%d", n))
	}
	s.notifyState(fields)
	if len(fields) != 1 || fields["WATCHDOG"] == "" {
		s.host.Changed(s, s.State)
	}
}

func (s *Service) notifyMain(v string) {
	pid, err := strconv.Atoi(v)
	if err != nil || pid <= 1 || pid == s.MainPID() {
		return
	}
	switch s.State {
	case Start, StartPost, Running, Reload:
		s.takeMain(pid)
	default: // Not up, or on its way down: it is too late for another one.
	}
}

func (s *Service) notifyState(fields map[string]string) {
	switch {
	case fields["STOPPING"] == "1":
		s.Notified = "stopping"
		if s.State == Running {
			s.stopByNotify()
		}
	case fields["READY"] == "1":
		s.Notified = "ready"
		switch {
		case s.State == Start && s.def().Type == unit.TypeNotify:
			s.enterStartPost()
		case s.State == Reload && s.Control == nil:
			s.enterRunning(Success)
		}
	case fields["RELOADING"] == "1":
		s.Notified = "reloading"
		if s.State == Running {
			s.arm(s.def().TimeoutStart)
			s.set(Reload)
		}
	}
}

func (s *Service) notifyTimes(fields map[string]string) {
	if us, ok := micros(fields["WATCHDOG_USEC"]); ok {
		s.Watchdog = us
		s.Feed()
	}
	switch fields["WATCHDOG"] {
	case "1":
		s.Feed()
	case "trigger":
		s.watchdogHit()
	}
	if us, ok := micros(fields["EXTEND_TIMEOUT_USEC"]); ok {
		if at := s.after(us); !s.Deadline.IsZero() && at.After(s.Deadline) {
			s.Deadline = at
		}
	}
}

func micros(v string) (time.Duration, bool) {
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < 0 || n > int64(maxSpan/time.Microsecond) {
		return 0, false
	}
	return time.Duration(n) * time.Microsecond, true
}

// Feed starts the watchdog's time anew.
func (s *Service) Feed() {
	s.WatchdogAt = time.Time{}
	if s.Watchdog > 0 && s.Watchdog < maxSpan {
		s.WatchdogAt = s.after(s.Watchdog)
	}
}

func (s *Service) watchdogHit() {
	s.WatchdogAt = time.Time{}
	switch s.State {
	case StartPost, Running, Reload:
		s.host.Say(s, fmt.Sprintf("Watchdog timeout (limit %s)!", s.Watchdog))
		s.enterSignal(StopWatchdog, Watchdog)
	default: // See watched.
	}
}
