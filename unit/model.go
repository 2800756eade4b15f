package unit

import (
	"math"
	"time"
)

// Infinity is systemd's "infinity" for a time span, a size or a count.
const Infinity = math.MaxInt64

// Unit is the typed model of one unit after its text, its drop-ins and its specifiers were read:
// what Argosy places, runs and renders. It never holds bytes of the user that were not parsed.
type Unit struct {
	Name Name
	// File is the merged, canonical sequence of sections and options (drop-ins applied, resets kept in
	// order, specifiers NOT expanded). Render writes it; Hash is made from it.
	File *File

	Description   string
	Documentation []string

	// Dependencies and ordering, unit names with the suffix, specifiers expanded.
	Requires, Requisite, Wants, BindsTo, PartOf, Upholds []string
	Before, After, Conflicts                             []string
	OnFailure, OnSuccess                                 []string
	PropagatesReloadTo                                   []string
	StopWhenUnneeded, RefuseManualStart                  bool
	DefaultDependencies                                  bool
	StartLimitInterval                                   time.Duration // Default 10 s; 0 switches the limit off.
	StartLimitBurst                                      int           // Default 5; 0 switches the limit off.
	JobTimeout                                           time.Duration // 0: none.
	Conditions                                           []Condition

	Service *Service // Only for .service.
	Timer   *Timer   // Only for .timer.
	Install Install
	Fleet   Fleet
	Argosy  Argosy
	// Warnings are about this text: unknown keys or sections, ignored values, deprecated forms.
	Warnings []Warning
}

// Warning is something in a unit file that systemd would log and go on, or that a runtime will not honour.
// It is told at submit and in status, never dropped.
type Warning struct {
	File      string `json:"file,omitempty"`
	Line      int    `json:"line,omitempty"`
	Section   string `json:"section,omitempty"`
	Directive string `json:"directive,omitempty"`
	Message   string `json:"message"`
}

// Condition is one Condition…= or Assert…= line.
type Condition struct {
	Kind    string // "PathExists", "PathIsDirectory", "FileNotEmpty", "Host", "Virtualization", …: without Condition/Assert.
	Assert  bool   // An Assert fails the start, a Condition skips it.
	Trigger bool   // "|": one of the triggering ones has to hold.
	Negate  bool   // "!"
	Value   string
	Line    int
}

// ServiceType is Type= of [Service].
type ServiceType string

// The service types of systemd.service(5).
const (
	TypeSimple  ServiceType = "simple"
	TypeExec    ServiceType = "exec"
	TypeForking ServiceType = "forking"
	TypeOneshot ServiceType = "oneshot"
	TypeNotify  ServiceType = "notify"
	TypeDBus    ServiceType = "dbus"
	TypeIdle    ServiceType = "idle"
)

// Command is one Exec line after systemd's quoting rules, with specifiers expanded and variables not.
type Command struct {
	Path string   // Absolute path, or a bare name to be searched in systemd's fixed path.
	Argv []string // With argv[0]. ${X} and $X are still there; "$$" too; see Expand.
	// Prefixes of systemd.service(5): "-" "@" ":" "+" "!" "!!".
	IgnoreFailure, Argv0, NoExpand, FullPrivileges, Ambient bool
	NoSetuid                                                bool // "!": User= and Group= do not count for this command.
	Line                                                    int
}

// EnvFile is one EnvironmentFile= line.
type EnvFile struct {
	Path     string // Absolute; may hold a glob.
	Optional bool   // "-": may be missing.
}

// Credential is one LoadCredential= or SetCredential= line.
type Credential struct {
	ID   string
	Path string // LoadCredential: where from.
	Data string // SetCredential: what.
	Set  bool   // True for SetCredential.
}

// Limit is one Limit…= pair; Infinity for no limit.
type Limit struct{ Soft, Hard int64 }

// Size is an amount that may be unset, a number of bytes (or tasks), a share of what the machine has, or Infinity.
type Size struct {
	Set     bool
	Value   int64 // Bytes or tasks; Infinity for "infinity". Meaningless when Permyriad is set.
	Percent int   // In hundredths of a percent (systemd's permyriad); 0: Value counts.
}

// Service is [Service]: what to run and how to keep it running. Defaults are systemd's.
type Service struct {
	Type                                                    ServiceType
	ExecCondition, ExecStartPre, ExecStart, ExecStartPost   []Command
	ExecReload, ExecStop, ExecStopPost                      []Command
	Restart                                                 string        // no, on-success, on-failure, on-abnormal, on-watchdog, on-abort, always.
	RestartSec                                              time.Duration //nolint:staticcheck // The directive's own name. Default 100 ms.
	TimeoutStart, TimeoutStop, TimeoutAbort                 time.Duration // Default 90 s; Infinity for none. TimeoutAbort 0: as TimeoutStop.
	RuntimeMax                                              time.Duration // Infinity: none.
	Watchdog                                                time.Duration // 0: off.
	RemainAfterExit, GuessMainPID                           bool
	PIDFile                                                 string
	NotifyAccess                                            string // none, main, exec, all.
	SuccessExitStatus, RestartPreventExit, RestartForceExit ExitSet
	BusName                                                 string
	ExitType                                                string // main (default) or cgroup.
	OOMPolicy                                               string // stop (default), continue, kill; continue when Delegate= is on.
	TimeoutAbortSet                                         bool   // TimeoutAbortSec= was given.

	KillMode                                       string // control-group, mixed, process, none.
	KillSignal, RestartKillSignal, FinalKillSignal int    // Numbers; RestartKillSignal 0: as KillSignal.
	WatchdogSignal                                 int
	SendSIGKILL, SendSIGHUP                        bool

	Exec      Exec
	Resources ServiceResources
}

// ExitSet is a set of exit statuses and signals, as in SuccessExitStatus=.
type ExitSet struct {
	Status  []int
	Signals []int
}

// Exec is the execution environment of systemd.exec(5) as far as Argosy's own init honours it.
type Exec struct {
	User, Group                                                                                                 string
	SupplementaryGroups                                                                                         []string
	WorkingDirectory                                                                                            string   // Absolute, or "~".
	WorkingDirectoryOptional                                                                                    bool     // "-": may be missing.
	RootDirectory                                                                                               string   // Not honoured by the native runtime: a warning says so.
	UMask                                                                                                       uint32   // Default 0022.
	Environment                                                                                                 []string // KEY=VALUE in order, later wins.
	EnvironmentFiles                                                                                            []EnvFile
	PassEnvironment                                                                                             []string
	UnsetEnvironment                                                                                            []string
	Credentials                                                                                                 []Credential
	Limits                                                                                                      map[string]Limit // Key as in the directive without "Limit": NOFILE, CORE, …
	RuntimeDirectory, StateDirectory, CacheDirectory, LogsDirectory, ConfigurationDirectory                     []string
	RuntimeDirectoryMode, StateDirectoryMode, CacheDirectoryMode, LogsDirectoryMode, ConfigurationDirectoryMode uint32 // Default 0755.
	RuntimeDirectoryPreserve                                                                                    string // no, restart, yes.
	Nice                                                                                                        int
	NiceSet                                                                                                     bool
	OOMScoreAdjust                                                                                              int
	OOMScoreAdjustSet                                                                                           bool
	StandardInput, StandardOutput, StandardError                                                                string // As written after defaults: null, journal, inherit, file:PATH, append:PATH, truncate:PATH, data, …
	StandardInputData                                                                                           []byte
	SyslogIdentifier                                                                                            string
	IgnoreSIGPIPE                                                                                               bool // Default true.
	NoNewPrivileges                                                                                             bool
	DynamicUser                                                                                                 bool
	// DirectorySymlinks are the links that RuntimeDirectory=PATH:LINK and its like ask for, each as DIRECTIVE=PATH:LINK.
	DirectorySymlinks []string
}

// ServiceResources are the cgroup directives of systemd.resource-control(5) that Argosy counts or enforces.
type ServiceResources struct {
	MemoryMin, MemoryLow, MemoryHigh, MemoryMax, MemorySwapMax Size
	MemoryLimit                                                Size // Deprecated; counts where none of the others is set.
	TasksMax                                                   Size
	CPUQuota                                                   int   // Hundredths of a percent of one core; 0: unset.
	CPUWeight                                                  int64 // 0: unset.
	CPUIdle                                                    bool  // CPUWeight=idle; CPUWeight is 1 then, for kernels without an idle class.
	Slice                                                      string
	Delegate                                                   bool
}

// Timer is [Timer].
type Timer struct {
	OnActive, OnBoot, OnStartup, OnUnitActive, OnUnitInactive   []time.Duration
	OnCalendar                                                  []string      // Validated expressions, as written.
	AccuracySec, RandomizedDelay                                time.Duration //nolint:staticcheck // The directive's own name.
	Persistent, WakeSystem, RemainAfterElapse, FixedRandomDelay bool
	OnClockChange, OnTimezoneChange                             bool
	Unit                                                        string // What it starts; default: same name with .service.
}

// Install is [Install].
type Install struct {
	WantedBy, RequiredBy, Alias, Also []string
	DefaultInstance                   string
}

// Fleet is [X-Fleet], with fleet's semantics; the deprecated X-Condition forms are folded in.
// Specifiers %n %N %p %i are expanded.
type Fleet struct {
	MachineID string
	MachineOf []string
	// Metadata: values of one key are alternatives, different keys must all match; keys and values sorted.
	Metadata  []MetadataTerm
	Conflicts []string // path.Match globs.
	Replaces  []string // path.Match globs.
	Global    bool
}

// MetadataTerm asks that the machine's metadata Key has one of Values.
type MetadataTerm struct {
	Key    string
	Values []string
}

// Argosy is [X-Argosy] (also written [Argosy]): what fleet lacked.
type Argosy struct {
	MemoryRequest, DiskRequest Size
	CPURequest                 int // Thousandths of a core; 0: unset.
	Ports                      []Port
	HealthCheck                *HealthCheck
	Monitor                    time.Duration // Stability window; 0: the default (5 s with a check or port, 10 s without).
	Priority                   int
	Spread                     []string // Metadata keys, most important first; "machine" is the machine itself.
	Exclusive                  bool
}

// Port is a host port as a resource.
type Port struct {
	Number  uint16 `json:"port"`
	Proto   string `json:"proto"`             // tcp or udp.
	Address string `json:"address,omitempty"` // Empty: every address.
}

// HealthCheck is HealthCheck= with its companions HealthInterval=, HealthTimeout=, HealthRetries=, HealthStartPeriod=.
type HealthCheck struct {
	Kind        string // http, https, tcp, exec.
	Target      string // http: URL; tcp: host:port; exec: empty.
	Command     []string
	Interval    time.Duration // Default 5 s.
	Timeout     time.Duration // Default 2 s.
	Retries     int           // Consecutive failures until unhealthy; default 3.
	StartPeriod time.Duration // Failures do not count for so long after the start; default 0.
}

// Resources is an amount of what a machine has or a unit asks.
type Resources struct {
	CPU    int64 `json:"cpu"`    // Thousandths of a core.
	Memory int64 `json:"memory"` // Bytes.
	Disk   int64 `json:"disk"`   // Bytes.
}

// Demand is everything that placement has to know about a unit.
type Demand struct {
	Service string // Units of one service are alike: the template's name for an instance, else the unit's own.
	Request Resources
	// From says where each number of Request came from, for people: "memory" -> "MemoryMax= of [Service]".
	From      map[string]string
	Ports     []Port
	MachineID string
	MachineOf []string
	Metadata  []MetadataTerm
	Conflicts []string
	Replaces  []string
	Global    bool
	Spread    []string
	Priority  int
	Exclusive bool
}

// Host is what specifiers need to know about the machine. The zero Host leaves machine specifiers
// (%H %l %m %b %v %a …) as they are, which is right for a model that is only placed, not run.
type Host struct {
	Hostname, MachineID, BootID, Kernel, Arch                             string
	RuntimeDir, StateDir, CacheDir, LogsDir, ConfigDir, TmpDir, VarTmpDir string // "" means systemd's own: /run, /var/lib, …
	OSID, OSVersionID, OSBuildID, OSVariantID                             string
}
