package unit

import (
	"math"
	"strings"
	"time"
)

// unitSetters are the directives of [Unit] that the model carries.
var unitSetters = withConditions(map[string]setter{
	"Description":           setText(func(u *Unit) *string { return &u.Description }),
	"Documentation":         setDocumentation,
	"Requires":              setUnits(func(u *Unit) *[]string { return &u.Requires }),
	"RequiresOverridable":   setUnits(func(u *Unit) *[]string { return &u.Requires }),
	"Requisite":             setUnits(func(u *Unit) *[]string { return &u.Requisite }),
	"RequisiteOverridable":  setUnits(func(u *Unit) *[]string { return &u.Requisite }),
	"Wants":                 setUnits(func(u *Unit) *[]string { return &u.Wants }),
	"BindsTo":               setUnits(func(u *Unit) *[]string { return &u.BindsTo }),
	"BindTo":                setUnits(func(u *Unit) *[]string { return &u.BindsTo }),
	"PartOf":                setUnits(func(u *Unit) *[]string { return &u.PartOf }),
	"Upholds":               setUnits(func(u *Unit) *[]string { return &u.Upholds }),
	"Before":                setUnits(func(u *Unit) *[]string { return &u.Before }),
	"After":                 setUnits(func(u *Unit) *[]string { return &u.After }),
	"Conflicts":             setUnits(func(u *Unit) *[]string { return &u.Conflicts }),
	"OnFailure":             setUnits(func(u *Unit) *[]string { return &u.OnFailure }),
	"OnSuccess":             setUnits(func(u *Unit) *[]string { return &u.OnSuccess }),
	"PropagatesReloadTo":    setUnits(func(u *Unit) *[]string { return &u.PropagatesReloadTo }),
	"PropagateReloadTo":     setUnits(func(u *Unit) *[]string { return &u.PropagatesReloadTo }),
	"StopWhenUnneeded":      setBool(func(u *Unit) *bool { return &u.StopWhenUnneeded }),
	"RefuseManualStart":     setBool(func(u *Unit) *bool { return &u.RefuseManualStart }),
	"DefaultDependencies":   setBool(func(u *Unit) *bool { return &u.DefaultDependencies }),
	"StartLimitIntervalSec": setSpan(startLimitInterval),
	"StartLimitInterval":    setSpan(startLimitInterval),
	"StartLimitBurst":       setStartLimitBurst,
	"JobTimeoutSec":         setJobTimeout,
	"SuccessAction":         setSuccessAction,
})

func startLimitInterval(u *Unit) *time.Duration { return &u.StartLimitInterval }

func setStartLimitBurst(l *loader, v string) bool {
	n, err := parseUint(v)
	if err != nil || n > math.MaxUint32 {
		return l.ignore("%s is not a count", short(v))
	}
	l.u.StartLimitBurst = int(n)
	return true
}

func setJobTimeout(l *loader, v string) bool {
	d, err := ParseSpan(v)
	if err != nil {
		return l.ignore("%v", err)
	}
	if d == Infinity {
		d = 0
	}
	l.u.JobTimeout = d
	return true
}

// setSuccessAction only remembers that there is one: a service without commands needs it.
func setSuccessAction(l *loader, v string) bool {
	switch v {
	case "none", "reboot", "reboot-force", "reboot-immediate", "poweroff", "poweroff-force", "poweroff-immediate", "exit", "exit-force":
		l.svc.successAction = v != "none"
		return true
	}
	return l.ignore("%s is not an action", short(v))
}

func setDocumentation(l *loader, v string) bool {
	if v == "" {
		l.u.Documentation = nil
		return true
	}
	s, err := l.expand(v, maxExpanded)
	if err != nil {
		return l.ignore("%v", err)
	}
	list, err := words(s, whitespace, unquote|keepEscapes)
	for _, w := range list {
		if validDocumentation(w) {
			l.u.Documentation = append(l.u.Documentation, w)
		} else {
			l.warn("%s is not a URL of http, https, file, info or man", short(w))
		}
	}
	if err != nil {
		l.warn("%v", err)
	}
	return true
}

// validDocumentation is systemd's documentation_url_is_valid.
func validDocumentation(s string) bool {
	for _, p := range []string{"http://", "https://", "file:/", "info:", "man:"} {
		if rest, ok := strings.CutPrefix(s, p); ok {
			return rest != "" && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
		}
	}
	return false
}

// conditionKinds are the kinds of Condition…= and Assert…=; true for those whose value is a path.
var conditionKinds = map[string]bool{
	"PathExists": true, "PathExistsGlob": true, "PathIsDirectory": true, "PathIsSymbolicLink": true, "PathIsMountPoint": true,
	"PathIsReadWrite": true, "PathIsEncrypted": true, "DirectoryNotEmpty": true, "FileNotEmpty": true,
	"FileIsExecutable": true, "NeedsUpdate": true,
	"FirstBoot": false, "Architecture": false, "Firmware": false, "Virtualization": false, "Host": false,
	"KernelCommandLine": false, "KernelVersion": false, "Credential": false, "Security": false, "Capability": false,
	"ACPower": false, "Memory": false, "CPUFeature": false, "CPUs": false, "Environment": false, "User": false, "Group": false,
	"ControlGroupController": false, "OSRelease": false, "MemoryPressure": false, "CPUPressure": false, "IOPressure": false,
}

// withConditions adds a setter for each Condition…= and Assert…=.
func withConditions(m map[string]setter) map[string]setter {
	for kind, isPath := range conditionKinds {
		m["Condition"+kind] = setCondition(kind, isPath, false)
		if kind != "Firmware" { // systemd 252 has no AssertFirmware=.
			m["Assert"+kind] = setCondition(kind, isPath, true)
		}
	}
	return m
}

func setCondition(kind string, isPath, assert bool) setter {
	return func(l *loader, v string) bool {
		if v == "" { // Resets all conditions, or all assertions, of whatever kind.
			var rest []Condition
			for _, c := range l.u.Conditions {
				if c.Assert != assert {
					rest = append(rest, c)
				}
			}
			l.u.Conditions = rest
			return true
		}
		c := Condition{Kind: kind, Assert: assert, Line: l.opt.Line}
		skip := whitespace
		if isPath {
			skip = ""
		}
		if rest, ok := strings.CutPrefix(v, "|"); ok {
			c.Trigger, v = true, strings.TrimLeft(rest, skip)
		}
		if rest, ok := strings.CutPrefix(v, "!"); ok {
			c.Negate, v = true, strings.TrimLeft(rest, skip)
		}
		if isPath {
			p, fault := l.path(v)
			if fault != "" {
				return l.ignore("%s", fault)
			}
			c.Value = p
		} else {
			s, err := l.expand(v, maxExpanded)
			if err != nil {
				return l.ignore("%v", err)
			}
			c.Value = s
		}
		l.u.Conditions = append(l.u.Conditions, c)
		return true
	}
}

// installSetters are [Install]: PID 1 skips it, systemctl enable reads it (and so does Argosy).
var installSetters = map[string]setter{
	"WantedBy":        setInstallList(func(u *Unit) *[]string { return &u.Install.WantedBy }),
	"RequiredBy":      setInstallList(func(u *Unit) *[]string { return &u.Install.RequiredBy }),
	"Alias":           setInstallList(func(u *Unit) *[]string { return &u.Install.Alias }),
	"Also":            setInstallList(func(u *Unit) *[]string { return &u.Install.Also }),
	"DefaultInstance": setDefaultInstance,
}

func setInstallList(field func(u *Unit) *[]string) setter {
	return func(l *loader, v string) bool {
		list := field(l.u)
		if v == "" {
			*list = nil
			return true
		}
		ws, err := words(v, whitespace, unquote|keepEscapes)
		if err != nil {
			return l.ignore("%v", err)
		}
		for _, w := range ws {
			s, err := l.expandName(w)
			if fault := nameFault(s); err != nil || fault != "" {
				l.warn("%s is not the name of a unit: %s", short(w), fault)
				continue
			}
			*list = append(*list, s)
		}
		return true
	}
}

func setDefaultInstance(l *loader, v string) bool {
	s, err := l.expandName(v)
	if err != nil {
		return l.ignore("%v", err)
	}
	for i := 0; i < len(s); i++ {
		if !nameByte(s[i]) && s[i] != '@' {
			return l.ignore("%s is not an instance", short(v))
		}
	}
	l.u.Install.DefaultInstance = s
	return true
}
