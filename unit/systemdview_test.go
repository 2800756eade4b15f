package unit

import (
	"archive/tar"
	"bytes"
	"fmt"
	"maps"
	"math"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"
)

// usec is how systemd shows a time: microseconds, all bits set for infinity.
func usec(d time.Duration) uint64 {
	if d == Infinity {
		return math.MaxUint64
	}
	return uint64(d / time.Microsecond)
}

func limit(n int64) uint64 {
	if n == Infinity {
		return math.MaxUint64
	}
	return uint64(n)
}

func list(l []string) []string {
	if l == nil {
		return []string{}
	}
	return l
}

// optionalProps are compared only where the unit sets them: their defaults depend on the machine.
var optionalProps = []string{
	"MemoryMin", "MemoryLow", "MemoryHigh", "MemoryMax", "MemorySwapMax", "MemoryLimit", "TasksMax", "CPUQuotaPerSecUSec", "CPUWeight",
	"Slice", "Description", "Nice", "OOMScoreAdjust", "TimersMonotonic", "TimersCalendar",
	"LimitCPU", "LimitFSIZE", "LimitDATA", "LimitSTACK", "LimitCORE", "LimitRSS", "LimitNOFILE", "LimitAS", "LimitNPROC",
	"LimitMEMLOCK", "LimitLOCKS", "LimitSIGPENDING", "LimitMSGQUEUE", "LimitNICE", "LimitRTPRIO", "LimitRTTIME",
	"LimitCPUSoft", "LimitFSIZESoft", "LimitDATASoft", "LimitSTACKSoft", "LimitCORESoft", "LimitRSSSoft", "LimitNOFILESoft",
	"LimitASSoft", "LimitNPROCSoft", "LimitMEMLOCKSoft", "LimitLOCKSSoft", "LimitSIGPENDINGSoft", "LimitMSGQUEUESoft",
	"LimitNICESoft", "LimitRTPRIOSoft", "LimitRTTIMESoft",
	"RuntimeDirectorySymlink", "StateDirectorySymlink", "CacheDirectorySymlink", "LogsDirectorySymlink",
}

// systemdView is the model as systemd's properties.
func systemdView(u *Unit) map[string]any {
	v := map[string]any{
		"Id":                     string(u.Name),
		"Documentation":          list(u.Documentation),
		"StopWhenUnneeded":       u.StopWhenUnneeded,
		"RefuseManualStart":      u.RefuseManualStart,
		"DefaultDependencies":    u.DefaultDependencies,
		"StartLimitIntervalUSec": usec(u.StartLimitInterval),
		"StartLimitBurst":        u.StartLimitBurst,
		"JobTimeoutUSec":         uint64(math.MaxUint64),
		"Conditions":             conditionView(u, false),
		"Asserts":                conditionView(u, true),
	}
	if u.JobTimeout > 0 {
		v["JobTimeoutUSec"] = usec(u.JobTimeout)
	}
	if u.Description != "" {
		v["Description"] = u.Description
	}
	if u.Timer != nil {
		timerView(u.Timer, v)
	}
	if s := u.Service; s != nil {
		serviceView(s, v)
		execView(&s.Exec, v)
		resourceView(&s.Resources, v)
	}
	return v
}

// conditionView has the newest condition first, as systemd keeps them.
func conditionView(u *Unit, assert bool) [][]any {
	out := [][]any{}
	for _, c := range slices.Backward(u.Conditions) {

		if c.Assert != assert {
			continue
		}
		prefix := "Condition"
		if assert {
			prefix = "Assert"
		}
		out = append(out, []any{prefix + c.Kind, c.Trigger, c.Negate, c.Value, 0})
	}
	return out
}

func commandView(l []Command) [][]any {
	out := [][]any{}
	for _, c := range l {
		flags := []string{}
		for _, f := range []struct {
			on   bool
			name string
		}{{c.IgnoreFailure, "ignore-failure"}, {c.FullPrivileges, "privileged"}, {c.NoSetuid, "no-setuid"}, {c.Ambient, "ambient"}, {c.NoExpand, "no-env-expand"}} {
			if f.on {
				flags = append(flags, f.name)
			}
		}
		out = append(out, []any{c.Path, c.Argv, flags, 0, 0, 0, 0, 0, 0, 0})
	}
	return out
}

func exitView(e ExitSet) []any {
	statuses, signals := e.Status, e.Signals
	if statuses == nil {
		statuses = []int{}
	}
	if signals == nil {
		signals = []int{}
	}
	return []any{statuses, signals}
}

func serviceView(s *Service, v map[string]any) {
	abort := s.TimeoutStop
	if s.TimeoutAbortSet {
		abort = s.TimeoutAbort
	}
	maps.Copy(v, map[string]any{
		"Type": string(s.Type), "ExitType": s.ExitType, "Restart": s.Restart, "PIDFile": s.PIDFile, "NotifyAccess": s.NotifyAccess,
		"RestartUSec": usec(s.RestartSec), "TimeoutStartUSec": usec(s.TimeoutStart), "TimeoutStopUSec": usec(s.TimeoutStop),
		"TimeoutAbortUSec": usec(abort), "RuntimeMaxUSec": usec(s.RuntimeMax),
		"RemainAfterExit": s.RemainAfterExit, "GuessMainPID": s.GuessMainPID, "BusName": s.BusName, "OOMPolicy": s.OOMPolicy,
		"SuccessExitStatus": exitView(s.SuccessExitStatus), "RestartPreventExitStatus": exitView(s.RestartPreventExit),
		"RestartForceExitStatus": exitView(s.RestartForceExit),
		"ExecConditionEx":        commandView(s.ExecCondition), "ExecStartPreEx": commandView(s.ExecStartPre),
		"ExecStartEx": commandView(s.ExecStart), "ExecStartPostEx": commandView(s.ExecStartPost),
		"ExecReloadEx": commandView(s.ExecReload), "ExecStopEx": commandView(s.ExecStop), "ExecStopPostEx": commandView(s.ExecStopPost),
		"KillMode": s.KillMode, "KillSignal": s.KillSignal, "FinalKillSignal": s.FinalKillSignal, "WatchdogSignal": s.WatchdogSignal,
		"RestartKillSignal": s.RestartKillSignal, "SendSIGKILL": s.SendSIGKILL, "SendSIGHUP": s.SendSIGHUP,
	})
	if s.RestartKillSignal == 0 {
		v["RestartKillSignal"] = s.KillSignal
	}
}

func execView(e *Exec, v map[string]any) {
	files := [][]any{}
	for _, f := range e.EnvironmentFiles {
		files = append(files, []any{f.Path, f.Optional})
	}
	workdir := e.WorkingDirectory
	if e.WorkingDirectoryOptional {
		workdir = "!" + workdir
	}
	data := []int{}
	for _, b := range e.StandardInputData {
		data = append(data, int(b))
	}
	in, _, _ := strings.Cut(e.StandardInput, ":")
	out, _, _ := strings.Cut(e.StandardOutput, ":")
	errs, _, _ := strings.Cut(e.StandardError, ":")
	maps.Copy(v, map[string]any{
		"User": e.User, "Group": e.Group, "SupplementaryGroups": list(e.SupplementaryGroups), "DynamicUser": e.DynamicUser,
		"WorkingDirectory": workdir, "RootDirectory": e.RootDirectory, "UMask": e.UMask,
		"Environment": list(e.Environment), "EnvironmentFiles": files,
		"PassEnvironment": list(e.PassEnvironment), "UnsetEnvironment": list(e.UnsetEnvironment),
		"RuntimeDirectory": list(e.RuntimeDirectory), "StateDirectory": list(e.StateDirectory), "CacheDirectory": list(e.CacheDirectory),
		"LogsDirectory": list(e.LogsDirectory), "ConfigurationDirectory": list(e.ConfigurationDirectory),
		"RuntimeDirectoryMode": e.RuntimeDirectoryMode, "StateDirectoryMode": e.StateDirectoryMode,
		"CacheDirectoryMode": e.CacheDirectoryMode, "LogsDirectoryMode": e.LogsDirectoryMode,
		"ConfigurationDirectoryMode": e.ConfigurationDirectoryMode, "RuntimeDirectoryPreserve": e.RuntimeDirectoryPreserve,
		"StandardInput": in, "StandardOutput": out, "StandardError": errs, "StandardInputData": data,
		"SyslogIdentifier": e.SyslogIdentifier, "IgnoreSIGPIPE": e.IgnoreSIGPIPE, "NoNewPrivileges": e.NoNewPrivileges,
		"LoadCredential": credentialView(e, false), "SetCredential": credentialView(e, true),
	})
	for kind, l := range e.Limits {
		v["Limit"+kind], v["Limit"+kind+"Soft"] = limit(l.Hard), limit(l.Soft)
	}
	if e.NiceSet {
		v["Nice"] = e.Nice
	}
	if e.OOMScoreAdjustSet {
		v["OOMScoreAdjust"] = e.OOMScoreAdjust
	}
	links := map[string][][]any{}
	for _, s := range e.DirectorySymlinks {
		key, rest, _ := strings.Cut(s, "=")
		from, to, _ := strings.Cut(rest, ":")
		links[key] = append(links[key], []any{from, to, 0})
	}
	for k, l := range links {
		sort.Slice(l, func(i, j int) bool { return fmt.Sprint(l[i]) < fmt.Sprint(l[j]) })
		v[k+"Symlink"] = l
	}
}

// credentialView: systemd keeps credentials in a hash table; names in order stand for both.
func credentialView(e *Exec, set bool) [][]any {
	out := [][]any{}
	for _, c := range e.Credentials {
		if c.Set != set {
			continue
		}
		if set {
			data := []int{}
			for _, b := range []byte(c.Data) {
				data = append(data, int(b))
			}
			out = append(out, []any{c.ID, data})
		} else {
			out = append(out, []any{c.ID, c.Path})
		}
	}
	return out
}

func resourceView(r *ServiceResources, v map[string]any) {
	v["Delegate"] = r.Delegate
	for k, s := range map[string]Size{
		"MemoryMin": r.MemoryMin, "MemoryLow": r.MemoryLow, "MemoryHigh": r.MemoryHigh, "MemoryMax": r.MemoryMax,
		"MemorySwapMax": r.MemorySwapMax, "MemoryLimit": r.MemoryLimit, "TasksMax": r.TasksMax,
	} {
		if s.Set && s.Percent == 0 {
			v[k] = limit(s.Value)
		}
	}
	if r.CPUQuota > 0 {
		v["CPUQuotaPerSecUSec"] = r.CPUQuota * 100
	}
	if r.CPUWeight > 0 {
		v["CPUWeight"] = r.CPUWeight
	}
	if r.CPUIdle {
		v["CPUWeight"] = 0
	}
	if r.Slice != "" {
		v["Slice"] = r.Slice
	}
}

func timerView(t *Timer, v map[string]any) {
	maps.Copy(v, map[string]any{
		"Unit": t.Unit, "AccuracyUSec": usec(t.AccuracySec), "RandomizedDelayUSec": usec(t.RandomizedDelay),
		"Persistent": t.Persistent, "WakeSystem": t.WakeSystem, "RemainAfterElapse": t.RemainAfterElapse,
		"FixedRandomDelay": t.FixedRandomDelay, "OnClockChange": t.OnClockChange, "OnTimezoneChange": t.OnTimezoneChange,
	})
}

// dependencyView has the dependencies that the text names; systemd adds more.
func dependencyView(u *Unit) map[string][]string {
	out := dependencyFields(u)
	for k, l := range out {
		if len(l) == 0 {
			delete(out, k)
		}
	}
	return out
}

func dependencyFields(u *Unit) map[string][]string {
	return map[string][]string{
		"Requires": u.Requires, "Requisite": u.Requisite, "Wants": u.Wants, "BindsTo": u.BindsTo, "PartOf": u.PartOf, "Upholds": u.Upholds,
		"Before": u.Before, "After": u.After, "Conflicts": u.Conflicts, "OnFailure": u.OnFailure, "OnSuccess": u.OnSuccess,
		"PropagatesReloadTo": u.PropagatesReloadTo,
	}
}

// tarball packs files for the host.
func tarball(t testing.TB, files map[string][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, text := range files {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
