package unit

import (
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

// Signals that are defaults of systemd.kill(5).
const (
	sigAbrt = 6
	sigKill = 9
	sigTerm = 15
)

// serviceState is what a service's directives leave for finishService.
type serviceState struct {
	startTimeoutSet bool
	successAction   bool
	pamName         bool
	fdStoreMax      bool
	watchdogSet     bool
}

// newService has systemd's defaults (systemd-system.conf(5), unchanged).
func newService() *Service {
	return &Service{
		Restart: "no", RestartSec: 100 * time.Millisecond,
		TimeoutStart: 90 * time.Second, TimeoutStop: 90 * time.Second, RuntimeMax: Infinity,
		GuessMainPID: true, NotifyAccess: "none", ExitType: "main",
		KillMode: "control-group", KillSignal: sigTerm, FinalKillSignal: sigKill, WatchdogSignal: sigAbrt, SendSIGKILL: true,
		Exec: Exec{
			UMask:                0o022,
			RuntimeDirectoryMode: 0o755, StateDirectoryMode: 0o755, CacheDirectoryMode: 0o755, LogsDirectoryMode: 0o755,
			ConfigurationDirectoryMode: 0o755, RuntimeDirectoryPreserve: "no",
			StandardInput: "null", StandardOutput: "inherit", StandardError: "inherit",
			IgnoreSIGPIPE: true,
		},
	}
}

// serviceSetters are the directives of [Service] that the model carries.
var serviceSetters = joinSetters(map[string]setter{
	"Type":                     setType,
	"ExecCondition":            setExec(func(s *Service) *[]Command { return &s.ExecCondition }),
	"ExecStartPre":             setExec(func(s *Service) *[]Command { return &s.ExecStartPre }),
	"ExecStart":                setExec(func(s *Service) *[]Command { return &s.ExecStart }),
	"ExecStartPost":            setExec(func(s *Service) *[]Command { return &s.ExecStartPost }),
	"ExecReload":               setExec(func(s *Service) *[]Command { return &s.ExecReload }),
	"ExecStop":                 setExec(func(s *Service) *[]Command { return &s.ExecStop }),
	"ExecStopPost":             setExec(func(s *Service) *[]Command { return &s.ExecStopPost }),
	"Restart":                  setEnum(func(u *Unit) *string { return &u.Service.Restart }, "no", "on-success", "on-failure", "on-abnormal", "on-watchdog", "on-abort", "always"),
	"RestartSec":               setSpan(func(u *Unit) *time.Duration { return &u.Service.RestartSec }),
	"TimeoutSec":               setStartTimeout,
	"TimeoutStartSec":          setStartTimeout,
	"TimeoutStopSec":           setTimeout(func(u *Unit) *time.Duration { return &u.Service.TimeoutStop }),
	"TimeoutAbortSec":          setAbortTimeout,
	"RuntimeMaxSec":            setSpan(func(u *Unit) *time.Duration { return &u.Service.RuntimeMax }),
	"WatchdogSec":              setWatchdog,
	"StartLimitInterval":       setSpan(startLimitInterval),
	"StartLimitBurst":          setStartLimitBurst,
	"RemainAfterExit":          setBool(func(u *Unit) *bool { return &u.Service.RemainAfterExit }),
	"GuessMainPID":             setBool(func(u *Unit) *bool { return &u.Service.GuessMainPID }),
	"PIDFile":                  setPIDFile,
	"NotifyAccess":             setEnum(func(u *Unit) *string { return &u.Service.NotifyAccess }, "none", "main", "exec", "all"),
	"ExitType":                 setEnum(func(u *Unit) *string { return &u.Service.ExitType }, "main", "cgroup"),
	"OOMPolicy":                setEnum(func(u *Unit) *string { return &u.Service.OOMPolicy }, "continue", "stop", "kill"),
	"SuccessExitStatus":        setExitSet(func(s *Service) *ExitSet { return &s.SuccessExitStatus }),
	"RestartPreventExitStatus": setExitSet(func(s *Service) *ExitSet { return &s.RestartPreventExit }),
	"RestartForceExitStatus":   setExitSet(func(s *Service) *ExitSet { return &s.RestartForceExit }),
	"BusName":                  setBusName,
	"FileDescriptorStoreMax":   setFDStoreMax,
	"PAMName":                  setPAMName,
	"KillMode":                 setKillMode,
	"KillSignal":               setSignal(func(u *Unit) *int { return &u.Service.KillSignal }),
	"RestartKillSignal":        setSignal(func(u *Unit) *int { return &u.Service.RestartKillSignal }),
	"FinalKillSignal":          setSignal(func(u *Unit) *int { return &u.Service.FinalKillSignal }),
	"WatchdogSignal":           setSignal(func(u *Unit) *int { return &u.Service.WatchdogSignal }),
	"SendSIGKILL":              setBool(func(u *Unit) *bool { return &u.Service.SendSIGKILL }),
	"SendSIGHUP":               setBool(func(u *Unit) *bool { return &u.Service.SendSIGHUP }),
}, execSetters, resourceSetters)

func joinSetters(all ...map[string]setter) map[string]setter {
	out := map[string]setter{}
	for _, m := range all {
		maps.Copy(out, m)
	}
	return out
}

func setType(l *loader, v string) bool {
	switch t := ServiceType(v); t {
	case TypeSimple, TypeExec, TypeForking, TypeOneshot, TypeNotify, TypeDBus, TypeIdle:
		l.u.Service.Type = t
		return true
	}
	return l.ignore("%s is none of simple, exec, forking, oneshot, notify, dbus, idle", short(v))
}

// setStartTimeout is TimeoutStartSec=, and TimeoutSec= which sets the stop's too. 0 means none.
func setStartTimeout(l *loader, v string) bool {
	d, err := ParseSpan(v)
	if err != nil {
		return l.ignore("%v", err)
	}
	if d == 0 {
		d = Infinity
	}
	l.svc.startTimeoutSet = true
	l.u.Service.TimeoutStart = d
	if l.opt.Key == "TimeoutSec" {
		l.u.Service.TimeoutStop = d
	}
	return true
}

func setAbortTimeout(l *loader, v string) bool {
	s := l.u.Service
	if v == "" {
		s.TimeoutAbort, s.TimeoutAbortSet = 0, false
		return true
	}
	d, err := ParseSpan(v)
	if err != nil {
		// systemd has written nothing, but has forgotten that the value was set.
		return l.ignore("%v", err)
	}
	s.TimeoutAbort, s.TimeoutAbortSet = d, true
	return true
}

func setWatchdog(l *loader, v string) bool {
	d, err := ParseSpan(v)
	if err != nil {
		return l.ignore("%v", err)
	}
	l.svc.watchdogSet = d > 0
	if d == Infinity {
		d = 0
	}
	l.u.Service.Watchdog = d
	return true
}

// setPIDFile takes a path, relative to /run; /var/run is rewritten to /run.
func setPIDFile(l *loader, v string) bool {
	if v == "" {
		l.u.Service.PIDFile = ""
		return true
	}
	s, err := l.expand(v, maxPath-1)
	if err != nil {
		return l.ignore("%v", err)
	}
	if !strings.HasPrefix(s, "/") {
		s = orElse(l.host.RuntimeDir, "/run") + "/" + s
	}
	if fault := pathFault(s, true); fault != "" {
		return l.fail("%s", fault)
	}
	s = simplifyPath(s)
	if rest, ok := strings.CutPrefix(s, "/var/run/"); ok && rest != "" {
		s = "/run/" + rest
		l.warn("/var/run is the old name of /run: read as %s", s)
	}
	l.u.Service.PIDFile = s
	return true
}

// setExitSet is a list of exit statuses, by number or name, and of signals.
func setExitSet(field func(s *Service) *ExitSet) setter {
	return func(l *loader, v string) bool {
		set := field(l.u.Service)
		if v == "" {
			*set = ExitSet{}
			return true
		}
		list, broken := words(v, whitespace, 0)
		for _, w := range list {
			if n, ok := parseExitStatus(w); ok {
				addNumber(&set.Status, n)
			} else if n, err := ParseSignal(w); err == nil {
				addNumber(&set.Signals, n)
			} else {
				l.warn("%s is neither an exit status nor a signal", short(w))
			}
		}
		if broken != nil {
			l.warn("%v", broken)
		}
		return true
	}
}

func addNumber(list *[]int, n int) {
	i, have := slices.BinarySearch(*list, n)
	if !have {
		*list = slices.Insert(*list, i, n)
	}
}

func setBusName(l *loader, v string) bool {
	s, err := l.expand(v, 255)
	if err != nil {
		return l.ignore("%v", err)
	}
	if !validBusName(s) {
		return l.ignore("%s is not a D-Bus name", short(v))
	}
	l.u.Service.BusName = s
	return true
}

// validBusName is the rule of the D-Bus specification for well-known names.
func validBusName(s string) bool {
	if len(s) > 255 || !strings.Contains(s, ".") {
		return false
	}
	for part := range strings.SplitSeq(s, ".") {
		if part == "" || part[0] >= '0' && part[0] <= '9' {
			return false
		}
		for i := 0; i < len(part); i++ {
			if !isAlphanumeric(part[i]) && part[i] != '_' && part[i] != '-' {
				return false
			}
		}
	}
	return true
}

func setFDStoreMax(l *loader, v string) bool {
	n, err := parseUint(v)
	if err != nil || n > math.MaxUint32 {
		return l.ignore("%s is not a count", short(v))
	}
	l.svc.fdStoreMax = n > 0
	return true
}

func setPAMName(l *loader, v string) bool { l.svc.pamName = v != ""; return true }

func setKillMode(l *loader, v string) bool {
	switch v {
	case "":
		v = "control-group"
	case "control-group", "mixed", "process":
	case "none":
		l.warn("KillMode=none leaves processes behind when the unit stops")
	default:
		return l.ignore("%s is none of control-group, mixed, process, none", short(v))
	}
	l.u.Service.KillMode = v
	return true
}

// at makes errors and warnings speak of the last assignment of a key, or of the section.
func (l *loader) at(section, key string) {
	l.section = section
	l.opt = &Option{Source: l.u.File.Source}
	for i := range l.u.File.Sections {
		s := &l.u.File.Sections[i]
		if s.Name != section {
			continue
		}
		if l.opt.Line == 0 {
			l.opt.Line = s.Line
		}
		for j := range s.Options {
			if s.Options[j].Key == key && key != "" {
				l.opt = &s.Options[j]
			}
		}
	}
}

// finishService adds the defaults that depend on other directives and refuses what systemd refuses.
func (l *loader) finishService() {
	s := l.u.Service
	if s.Type == "" {
		switch {
		case s.BusName != "":
			s.Type = TypeDBus
		case len(s.ExecStart) > 0:
			s.Type = TypeSimple
		default:
			s.Type = TypeOneshot
		}
	}
	if s.Type == TypeOneshot && !l.svc.startTimeoutSet {
		s.TimeoutStart = Infinity
	}
	if s.NotifyAccess == "none" && (s.Type == TypeNotify || l.svc.watchdogSet || l.svc.fdStoreMax) {
		s.NotifyAccess = "main"
	}
	if s.OOMPolicy == "" {
		s.OOMPolicy = "stop"
		if s.Resources.Delegate {
			s.OOMPolicy = "continue"
		}
	}
	l.finishExec(&s.Exec)
	l.checkService(s)
}

// checkService is systemd's own check of a whole service; what fails it is bad-setting there.
func (l *loader) checkService(s *Service) {
	oneshot := s.Type == TypeOneshot
	refuse := func(key, format string, args ...any) {
		l.at("Service", key)
		l.fail(format+": systemd refuses it", args...)
	}
	switch {
	case len(s.ExecStart) == 0 && len(s.ExecStop) == 0 && !l.svc.successAction:
		refuse("", "the service has no ExecStart=, no ExecStop= and no SuccessAction=")
	case !oneshot && len(s.ExecStart) == 0:
		refuse("", "the service has no ExecStart=, which only Type=oneshot may lack")
	case !s.RemainAfterExit && len(s.ExecStart) == 0 && !l.svc.successAction:
		refuse("", "the service has neither ExecStart= nor RemainAfterExit=yes")
	case !oneshot && len(s.ExecStart) > 1:
		refuse("ExecStart", "more than one command, which only Type=oneshot may have")
	}
	switch {
	case oneshot && (s.Restart == "always" || s.Restart == "on-success"):
		refuse("Restart", "%s cannot go with Type=oneshot", s.Restart)
	case oneshot && (len(s.RestartForceExit.Status) > 0 || len(s.RestartForceExit.Signals) > 0):
		refuse("RestartForceExitStatus", "it cannot go with Type=oneshot")
	case oneshot && s.ExitType == "cgroup":
		refuse("ExitType", "cgroup cannot go with Type=oneshot")
	case s.Type == TypeDBus && s.BusName == "":
		refuse("Type", "dbus needs a BusName=")
	case l.svc.pamName && s.KillMode != "control-group" && s.KillMode != "mixed":
		refuse("KillMode", "%s cannot go with PAMName=", s.KillMode)
	}
	if oneshot && s.RuntimeMax != Infinity {
		l.at("Service", "RuntimeMaxSec")
		l.warn("no effect with Type=oneshot")
	}
}
