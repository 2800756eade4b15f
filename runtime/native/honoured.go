package native

import (
	"fmt"
	"slices"
	"strings"

	"argosy.dev/argosy/runtime/native/internal/supervisor"
	"argosy.dev/argosy/unit"
)

// honours tells whether the native runtime does what a directive asks for. It is a positive list: what is not in it
// is named in a warning, so a directive that nobody thought of is never dropped without a word.
func honours(section, key string) bool {
	if strings.HasPrefix(section, "X-") || section == "Argosy" || section == "Install" || strings.HasPrefix(key, "X-") {
		return true // Not a runtime's business.
	}
	switch section {
	case "Unit":
		return strings.HasPrefix(key, "Condition") || strings.HasPrefix(key, "Assert") || slices.Contains(unitKeys(), key)
	case "Service":
		return strings.HasPrefix(key, "Limit") || slices.Contains(serviceKeys(), key)
	case "Timer":
		return slices.Contains(timerKeys(), key)
	}
	return false
}

func unitKeys() []string {
	return strings.Fields(`Description Documentation SourcePath Requires Requisite Wants BindsTo BindTo PartOf Before After
		Conflicts OnFailure OnSuccess PropagatesReloadTo PropagateReloadTo StartLimitIntervalSec StartLimitInterval
		StartLimitBurst DefaultDependencies`)
}

func serviceKeys() []string {
	return strings.Fields(`Type ExitType ExecCondition ExecStartPre ExecStart ExecStartPost ExecReload ExecStop ExecStopPost
		Restart RestartSec TimeoutSec TimeoutStartSec TimeoutStopSec TimeoutAbortSec RuntimeMaxSec WatchdogSec
		RemainAfterExit GuessMainPID PIDFile NotifyAccess SuccessExitStatus RestartPreventExitStatus
		RestartForceExitStatus OOMPolicy StartLimitInterval StartLimitBurst
		KillMode KillSignal RestartKillSignal FinalKillSignal WatchdogSignal SendSIGKILL SendSIGHUP
		User Group SupplementaryGroups DynamicUser WorkingDirectory UMask Environment EnvironmentFile PassEnvironment
		UnsetEnvironment LoadCredential SetCredential RuntimeDirectory StateDirectory CacheDirectory LogsDirectory
		ConfigurationDirectory RuntimeDirectoryMode StateDirectoryMode CacheDirectoryMode LogsDirectoryMode
		ConfigurationDirectoryMode RuntimeDirectoryPreserve Nice OOMScoreAdjust StandardInput StandardOutput
		StandardError StandardInputText StandardInputData
		IgnoreSIGPIPE NoNewPrivileges MemoryMin MemoryLow MemoryHigh MemoryMax MemoryLimit MemorySwapMax TasksMax
		CPUQuota CPUWeight MemoryAccounting CPUAccounting TasksAccounting`)
}

func timerKeys() []string {
	return strings.Fields(`OnActiveSec OnBootSec OnStartupSec OnUnitActiveSec OnUnitInactiveSec OnCalendar AccuracySec
		RandomizedDelaySec FixedRandomDelay Persistent RemainAfterElapse Unit`)
}

// directiveWarnings names every directive of the unit that is not honoured, and every value that is not.
func directiveWarnings(u *unit.Unit) []unit.Warning {
	var out []unit.Warning
	warn := func(section string, o unit.Option, text string) {
		out = append(out, unit.Warning{File: o.Source, Line: o.Line, Section: section, Directive: o.Key, Message: text})
	}
	if u.File != nil {
		for _, s := range u.File.Sections {
			for _, o := range s.Options {
				switch {
				case !unit.IsDirective(s.Name, o.Key): // Package unit has warned of it.
				case !honours(s.Name, o.Key):
					warn(s.Name, o, fmt.Sprintf("%s= is not honoured by the native runtime", o.Key))
				default:
					if text := valueWarning(o); text != "" {
						warn(s.Name, o, text)
					}
				}
			}
		}
	}
	return out
}

// valueWarning is about values that mean something which a directive otherwise honoured cannot do here.
func valueWarning(o unit.Option) string {
	kind, _, _ := strings.Cut(o.Value, ":")
	switch o.Key {
	case "Type":
		if o.Value == "dbus" {
			return "Type=dbus is run as Type=simple: the native runtime does not watch the bus for BusName="
		}
	case "StandardInput", "StandardOutput", "StandardError":
		switch kind {
		case "", "null", "journal", "inherit", "file", "append", "truncate", "data", "syslog":
			return ""
		}
		return fmt.Sprintf("%s=%s is not honoured by the native runtime", o.Key, o.Value)
	}
	for _, p := range []string{"Condition", "Assert"} {
		if k, ok := strings.CutPrefix(o.Key, p); ok && k != "" && !supervisor.KnownCondition(k) {
			return o.Key + "= is not evaluated by the native runtime: taken as holding"
		}
	}
	return ""
}
