package reason

import (
	"fmt"
	"strings"
)

// Entry is one line of the table.
type Entry struct {
	Code  Code
	Scope Scope
	Cure  Cure
	Short string   // Two or three words for a column.
	Args  []string // The arguments it must carry; a trailing "?" marks one that may be left out.
	Doc   string   // What it means and how Argosy knows, for docs/reasons.md.

	sentence func(r *Reason) string
	hint     func(r *Reason) string
}

// The codes, in the order a unit can meet them: asked for, placed, prepared, started, running, stopped.
const (
	UnitInvalid         Code = "unit-invalid"
	NameInvalid         Code = "name-invalid"
	NoSuchUnit          Code = "no-such-unit"
	TemplateOnly        Code = "template-only"
	NotRunning          Code = "not-running"
	TooLarge            Code = "too-large"
	Stale               Code = "stale"
	NoSuchMachine       Code = "no-such-machine"
	TooMany             Code = "too-many-requests"
	NotAllowed          Code = "not-allowed"
	BadRequest          Code = "bad-request"
	StoreUnavailable    Code = "store-unavailable"
	StoreFull           Code = "store-full"
	NotReachable        Code = "not-reachable"
	NoCluster           Code = "no-cluster"
	NotListening        Code = "not-listening"
	NotServer           Code = "not-a-server"
	NoServer            Code = "no-server"
	MachineCloned       Code = "machine-cloned"
	NameInUse           Code = "name-in-use"
	NoSuchUser          Code = "no-such-user"
	NoSuchContext       Code = "no-such-context"
	Internal            Code = "internal"
	NotScheduled        Code = "not-scheduled"
	NoMachine           Code = "no-machine"
	NoMachineID         Code = "no-machine.id"
	NoMachineMetadata   Code = "no-machine.metadata"
	NoMachineConflict   Code = "no-machine.conflict"
	NoMachinePeer       Code = "no-machine.peer"
	NoMachinePeerAbsent Code = "no-machine.peer-absent"
	NoMachineRuntime    Code = "no-machine.runtime"
	MachineCordoned     Code = "machine-cordoned"
	MachineDown         Code = "machine-down"
	NoRoomMemory        Code = "no-room.memory"
	NoRoomCPU           Code = "no-room.cpu"
	NoRoomDisk          Code = "no-room.disk"
	NoRoomPort          Code = "no-room.port"
	NoRoom              Code = "no-room"
	Placed              Code = "placed"
	Replaced            Code = "replaced"
	Preempted           Code = "preempted"
	MachineRemoved      Code = "machine-removed"
	NotTaken            Code = "not-taken"
	Loading             Code = "loading"
	NameTaken           Code = "name-taken"
	PropertyDiffers     Code = "property-differs"
	Unsupported         Code = "unsupported"
	WaitingFor          Code = "waiting-for"
	DependencyFailed    Code = "dependency-failed"
	ConditionFailed     Code = "condition-failed"
	ConfigMissing       Code = "config-missing"
	SecretMissing       Code = "secret-missing"
	UserMissing         Code = "user-missing"
	GroupMissing        Code = "group-missing"
	DirectoryMissing    Code = "directory-missing"
	PortTaken           Code = "port-taken"
	ExecNotFound        Code = "exec-not-found"
	Permission          Code = "permission"
	SetupFailed         Code = "setup-failed"
	DiskFull            Code = "disk-full"
	CannotStart         Code = "cannot-start"
	Starting            Code = "starting"
	StartTimeout        Code = "start-timeout"
	Protocol            Code = "protocol"
	Settling            Code = "settling"
	NotReady            Code = "not-ready"
	Unhealthy           Code = "unhealthy"
	OOMKilled           Code = "oom-killed"
	Watchdog            Code = "watchdog"
	RuntimeMax          Code = "runtime-max"
	Signal              Code = "signal"
	CoreDump            Code = "core-dump"
	Exit                Code = "exit"
	BackingOff          Code = "backing-off"
	CrashLoop           Code = "crash-loop"
	StopTimeout         Code = "stop-timeout"
	LimitNotEnforced    Code = "limit-not-enforced"
	RuntimeDown         Code = "runtime-down"
	MachineLost         Code = "machine-lost"
	MassStop            Code = "mass-stop-refused"
	Fencing             Code = "fencing"
	NoLease             Code = "no-lease"
	ManyLost            Code = "many-machines-lost"
	Unsteady            Code = "machine-unsteady"
	Stopping            Code = "stopping"
	StoppedByUser       Code = "stopped-by-user"
	NotStarted          Code = "not-started"
	Finished            Code = "finished"
	TimerWaiting        Code = "timer-waiting"
	Healthy             Code = "healthy"

	// Of the members of the store (members.go).
	StoreNotReady Code = "store-not-ready"
	LearnerBehind Code = "learner-behind"
	MembersRight  Code = "members-right"
	MembersFew    Code = "members-few"
	MembersWait   Code = "members-wait"
	MembersUnsafe Code = "members-unsafe"
	MembersLost   Code = "members-lost"
	MembersChange Code = "members-change"
	MajorityThere Code = "majority-there"
	NoStoreHere   Code = "no-store-here"
	UnknownUnits  Code = "unknown-units"

	// Of machines that take nothing new (machines.go).
	MachinePressure Code = "machine-pressure"
	MachineDisk     Code = "machine-disk"
	MachineClock    Code = "machine-clock"
	MachineDraining Code = "machine-draining"
	StaysGlobal     Code = "stays-global"
	StaysPinned     Code = "stays-pinned"
	MachineAlive    Code = "machine-alive"

	// Of certificates and join tokens (identity.go).
	BadToken           Code = "bad-token"
	TokenUnknown       Code = "token-unknown"
	TokenExpired       Code = "token-expired"
	TokenUsed          Code = "token-used"
	TokenRole          Code = "token-role"
	CertificateInvalid Code = "certificate-invalid"
	CertificateExpired Code = "certificate-expired"
	CertificateEarly   Code = "certificate-early"
	CertificateRevoked Code = "certificate-revoked"
	CertificateRefused Code = "certificate-refused"
	WrongCluster       Code = "wrong-cluster"
	WrongIdentity      Code = "wrong-identity"
	CAUnknown          Code = "ca-unknown"
	CAMismatch         Code = "ca-mismatch"
	CARotating         Code = "ca-rotating"
	IdentityFile       Code = "identity-file"
	IdentityExposed    Code = "identity-exposed"
	ClusterKeyWrong    Code = "cluster-key-wrong"
)

// Table is every reason there is, in the order a unit can meet them.
var Table = table()

var index = func() map[Code]*Entry {
	m := make(map[Code]*Entry, len(Table))
	for i := range Table {
		m[Table[i].Code] = &Table[i]
	}
	return m
}()

var unknown = &Entry{
	Scope: ScopeUnit, Cure: Transient, Short: "unknown",
	sentence: func(r *Reason) string { return "reason " + string(r.Code) + " (unknown to this version)" },
}

// say makes a sentence from a format in which {key} stands for an argument as text,
// {key|bytes}, {key|cpu} and {key|span} and {key|times} for an argument as an amount.
func say(format string) func(*Reason) string {
	return func(r *Reason) string {
		var b strings.Builder
		rest := format
		for {
			before, tail, ok := strings.Cut(rest, "{")
			b.WriteString(before)
			if !ok {
				return b.String()
			}
			name, after, _ := strings.Cut(tail, "}")
			key, as, _ := strings.Cut(name, "|")
			switch as {
			case "bytes":
				b.WriteString(Bytes(r.Int(key)))
			case "cpu":
				b.WriteString(CPU(r.Int(key)))
			case "span":
				b.WriteString(Span(r.Int(key)))
			case "times":
				b.WriteString(Times(r.Int(key)))
			default:
				b.WriteString(r.Str(key))
			}
			rest = after
		}
	}
}

// withTail adds " (error text)" when the argument is there.
func withTail(format, key string) func(*Reason) string {
	base := say(format)
	return func(r *Reason) string {
		if t := r.Str(key); t != "" {
			return base(r) + ": " + t
		}
		return base(r)
	}
}

// holders says who has what is lacking: " (kong@1.service 1G, web@2.service 512M)".
func holders(r *Reason) string {
	if h := r.Str("holders"); h != "" {
		return " (held by " + h + ")"
	}
	return ""
}

func noRoom(what, as string) func(*Reason) string {
	return func(r *Reason) string {
		s := say("needs {need|" + as + "} " + what + ", but the roomiest machine ({where}) has {have|" + as + "} free of {capacity|" + as + "}")(r)
		return s + holders(r)
	}
}

func fits(r *Reason, key, as string) string {
	if r.Int("most") <= 0 {
		return ""
	}
	return say("; " + key + "={most|" + as + "} would fit now")(r)
}

func table() []Entry {
	return append([]Entry{
		{
			Code: UnitInvalid, Scope: ScopeUnit, Cure: Permanent, Short: "invalid unit", Args: []string{"file", "line", "error"},
			Doc: "The unit file cannot be read, or a value in it is not one that systemd would take. Nothing was changed.",
			sentence: func(r *Reason) string {
				if r.Int("line") > 0 {
					return say("{file}:{line}: {error}")(r)
				}
				return say("{file}: {error}")(r)
			},
			hint: say("mend the file and submit it again; argosy verify {file} shows every fault at once"),
		},
		{
			Code: NameInvalid, Scope: ScopeUnit, Cure: Permanent, Short: "invalid name", Args: []string{"unit", "error"},
			Doc:      "The name is not one that systemd takes for a unit, or longer than 255 bytes, or holds a path or a control character.",
			sentence: say("{unit} is not a unit name: {error}"),
			hint:     say("a name is letters, digits and :-_.\\ with one of the suffixes .service .timer .socket .path .mount .device .automount .target"),
		},
		{
			Code: NoSuchUnit, Scope: ScopeUnit, Cure: Permanent, Short: "no such unit", Args: []string{"unit"},
			Doc:      "Neither the cluster nor the working directory of the command has a unit or a template of this name.",
			sentence: say("there is no unit {unit}, and no template for it"),
			hint:     say("argosy list-unit-files shows what there is; argosy submit FILE adds one"),
		},
		{
			Code: TemplateOnly, Scope: ScopeUnit, Cure: Permanent, Short: "a template", Args: []string{"unit"},
			Doc:      "A template cannot be started, only its instances.",
			sentence: say("{unit} is a template: only its instances can be started"),
			hint: func(r *Reason) string {
				return "name an instance, such as " + strings.Replace(r.Str("unit"), "@.", "@1.", 1)
			},
		},
		{
			Code: NotRunning, Scope: ScopeUnit, Cure: Transient, Short: "not running", Args: []string{"unit", "state"},
			Doc:      "What was asked for needs a running process of the unit, and there is none.",
			sentence: say("{unit} has no running process: it is {state}"), hint: say("argosy why {unit} tells why; argosy ssh MACHINE needs no unit"),
		},
		{
			Code: TooLarge, Scope: ScopeUnit, Cure: Permanent, Short: "too large", Args: []string{"what", "need", "have"},
			Doc:      "A limit on requests: size of a body or of a unit file, units in one call, instances in one brace.",
			sentence: say("{what}: {need} is more than the limit of {have}"),
			hint:     say("split it into several requests"),
		},
		{
			Code: Stale, Scope: ScopeUnit, Cure: Transient, Short: "changed meanwhile", Args: []string{"unit", "expected", "found"},
			Doc:      "Somebody else changed the same thing since it was read (If-Match, --expect-revision). Nothing was changed.",
			sentence: say("{unit} is at revision {found}, not at {expected}"),
			hint:     say("read it again and repeat the change"),
		},
		{
			Code: NoSuchMachine, Scope: ScopeMachine, Cure: Permanent, Short: "no such machine", Args: []string{"machine"},
			Doc:      "No machine of the cluster has this id or name.",
			sentence: say("there is no machine {machine}"), hint: say("argosy list-machines shows names and ids"),
		},
		{
			Code: TooMany, Scope: ScopeUnit, Cure: Transient, Short: "too many requests", Args: []string{"what", "have"},
			Doc:      "One caller asks faster, or watches more at once, than the API allows.",
			sentence: say("{what}: the limit is {have}"), hint: say("ask again in a second, or watch instead of asking again and again"),
		},
		{
			Code: NotAllowed, Scope: ScopeUnit, Cure: Permanent, Short: "not allowed", Args: []string{"what", "who", "cure?"},
			Doc:      "The caller may not do this.",
			sentence: say("{who} may not {what}"), hint: say("{cure}"),
		},
		{
			Code: BadRequest, Scope: ScopeUnit, Cure: Permanent, Short: "bad request", Args: []string{"error"},
			Doc: "The request cannot be understood.", sentence: say("{error}"),
		},
		{
			Code: StoreUnavailable, Scope: ScopeCluster, Cure: Transient, Short: "store away", Args: []string{"error"},
			Doc:      "The store does not answer. Running units are not touched.",
			sentence: say("the store does not answer: {error}"), hint: say("running units are untouched; argosy status --local, on a machine, shows its own"),
		},
		{
			Code: StoreFull, Scope: ScopeCluster, Cure: Permanent, Short: "store full", Args: []string{"size", "quota"},
			Doc:      "The store has reached its quota: reads go on, writes are refused, running units are not touched.",
			sentence: say("the store holds {size|bytes} of its quota of {quota|bytes} and takes no writes"),
			hint:     say("running units are untouched; destroy unit files that nobody needs"),
		},
		{
			Code: NotReachable, Scope: ScopeCluster, Cure: Transient, Short: "not reachable", Args: []string{"address", "error"},
			Doc:      "No Argosy answers at the address.",
			sentence: say("cannot reach argosy at {address}: {error}"),
			hint: func(r *Reason) string {
				if strings.HasPrefix(r.Str("address"), "cluster ") {
					return "check the network; argosy context show says which servers are asked; argosy status --local, on a machine, shows its own units"
				}
				return "argosy up starts a one-machine cluster; ARGOSY_HOST=unix:///PATH names another socket, --context another cluster"
			},
		},
		{
			Code: NoCluster, Scope: ScopeCluster, Cure: Permanent, Short: "no cluster",
			Doc:      "The store holds no certificate authority: no cluster was founded here.",
			sentence: say("no cluster was founded here: there is no certificate authority"), hint: say("argosy init founds one, argosy join TOKEN joins one"),
		},
		{
			Code: NotListening, Scope: ScopeCluster, Cure: Permanent, Short: "not listening",
			Doc:      "No server of the cluster listens on the network, so no machine can join it.",
			sentence: say("no server of this cluster listens on the network: no machine could reach it"),
			hint:     say("start the server with an address that the others reach: argosy up --listen ADDRESS:7443"),
		},
		{
			Code: NotServer, Scope: ScopeMachine, Cure: Transient, Short: "not a server", Args: []string{"machine"},
			Doc:      "The machine that was asked holds no store: another one has to be asked.",
			sentence: say("{machine} is not a server of the cluster"), hint: say("argosy list-machines shows which machines are"),
		},
		{
			Code: NoServer, Scope: ScopeCluster, Cure: Transient, Short: "no server", Args: []string{"servers", "error"},
			Doc:      "This machine reaches no server of its cluster. Its units go on running, and it goes on asking.",
			sentence: say("no server of the cluster answers (asked {servers}): {error}"),
			hint:     say("units of this machine go on; argosy status --local shows them"),
		},
		{
			Code: MachineCloned, Scope: ScopeMachine, Cure: Permanent, Short: "machine cloned", Args: []string{"machine", "id", "address"},
			Doc:      "A machine with this id is in the cluster and alive: this one is a copy of its disk.",
			sentence: say("machine {id} is in the cluster already and alive, as {machine} at {address}: this is a copy of it"),
			hint:     say("remove the copied data directory (--data), then join again: the machine gets an id of its own"),
		},
		{
			Code: NameInUse, Scope: ScopeMachine, Cure: Permanent, Short: "name in use", Args: []string{"name", "id", "address?"},
			Doc:      "Another machine of the cluster has this name.",
			sentence: say("the name {name} belongs to machine {id}"), hint: say("join with another one (--name), or remove the old machine: argosy machine rm {name}"),
		},
		{
			Code: NoSuchUser, Scope: ScopeCluster, Cure: Permanent, Short: "no such user", Args: []string{"user"},
			Doc:      "The cluster knows no user of this name.",
			sentence: say("there is no user {user}"), hint: say("argosy user ls lists the users"),
		},
		{
			Code: Internal, Scope: ScopeCluster, Cure: Transient, Short: "internal error", Args: []string{"error"},
			Doc: "Argosy itself failed.", sentence: say("argosy failed: {error}"),
		},

		{
			Code: NotScheduled, Scope: ScopeCluster, Cure: Transient, Short: "not yet placed", Args: []string{"unit"},
			Doc: "The wish is stored, the leader has not looked at it yet.", sentence: say("{unit} waits for the leader to place it"),
		},
		{
			Code: NoMachine, Scope: ScopeCluster, Cure: Permanent, Short: "no machine", Args: []string{"machines"},
			Doc:      "No machine may take the unit, each for a reason of its own (see the candidates).",
			sentence: say("none of {machines} machines may take it"),
			hint:     say("argosy why UNIT lists every machine with its reason"),
		},
		{
			Code: NoMachineID, Scope: ScopeCluster, Cure: Permanent, Short: "no such machine", Args: []string{"want"},
			Doc:      "MachineID= names a machine that is not in the cluster.",
			sentence: say("MachineID={want} names no machine of this cluster"), hint: say("argosy list-machines --full shows the ids"),
		},
		{
			Code: NoMachineMetadata, Scope: ScopeCluster, Cure: Permanent, Short: "no matching machine", Args: []string{"want", "found?"},
			Doc:      "MachineMetadata= asks for something that no machine has. Values of one key are alternatives, different keys must all match.",
			sentence: withTail("no machine has metadata {want}", "found"),
			hint:     say("argosy list-machines shows the metadata; start a machine with --metadata {want}, or change MachineMetadata="),
		},
		{
			Code: NoMachineConflict, Scope: ScopeCluster, Cure: Permanent, Short: "conflict", Args: []string{"with", "pattern"},
			Doc:      "Conflicts= of this unit matches a unit there, or a Conflicts= of a unit there matches this one.",
			sentence: say("conflicts with {with} (Conflicts={pattern})"), hint: say("stop {with}, add a machine, or change Conflicts="),
		},
		{
			Code: NoMachinePeer, Scope: ScopeCluster, Cure: Transient, Short: "peer not placed", Args: []string{"peer"},
			Doc:      "MachineOf= binds the unit to the machine of another unit, which is on no machine (or on another one).",
			sentence: say("MachineOf={peer}: {peer} is not on this machine or not placed yet"), hint: say("argosy start {peer}"),
		},
		{
			Code: NoMachinePeerAbsent, Scope: ScopeCluster, Cure: Permanent, Short: "no peer", Args: []string{"peer", "state", "hint?"},
			Doc:      "MachineOf= binds the unit to the machine of another unit that stays on none by itself: it is not there, nobody asked for it to run, no machine will take it, or the two follow each other in a circle.",
			sentence: say("MachineOf={peer}: {state}"),
			hint: func(r *Reason) string {
				if h := r.Str("hint"); h != "" {
					return h
				}
				return say("argosy start {peer}")(r)
			},
		},
		{
			Code: NoMachineRuntime, Scope: ScopeCluster, Cure: Permanent, Short: "no runtime", Args: []string{"type", "runtime"},
			Doc:      "The machine's runtime does not run units of this type.",
			sentence: say("the {runtime} runtime does not run .{type} units"), hint: say("run it on a machine whose PID 1 is systemd"),
		},
		{
			Code: MachineCordoned, Scope: ScopeMachine, Cure: Permanent, Short: "cordoned", Args: []string{"machine"},
			Doc: "A person has closed the machine for new units.", sentence: say("{machine} is cordoned"), hint: say("argosy machine uncordon {machine}"),
		},
		{
			Code: MachineDown, Scope: ScopeMachine, Cure: Transient, Short: "machine down", Args: []string{"machine"},
			Doc: "The machine has not been heard of within its lease.", sentence: say("{machine} is not answering"),
		},
		{
			Code: NoRoomMemory, Scope: ScopeCluster, Cure: Permanent, Short: "no room", Args: []string{"need", "have", "where", "capacity", "holders?", "most?"},
			Doc:      "The requested memory is more than any machine that may take the unit has unpromised.",
			sentence: noRoom("memory", "bytes"),
			hint: func(r *Reason) string {
				return "add a machine, stop something, or lower MemoryRequest= in [X-Argosy]" + fits(r, "MemoryRequest", "bytes")
			},
		},
		{
			Code: NoRoomCPU, Scope: ScopeCluster, Cure: Permanent, Short: "no room", Args: []string{"need", "have", "where", "capacity", "holders?", "most?"},
			Doc:      "The requested cpu is more than any machine that may take the unit has unpromised.",
			sentence: noRoom("cpu", "cpu"),
			hint: func(r *Reason) string {
				return "add a machine, stop something, or lower CPURequest= in [X-Argosy]" + fits(r, "CPURequest", "cpu")
			},
		},
		{
			Code: NoRoomDisk, Scope: ScopeCluster, Cure: Permanent, Short: "no room", Args: []string{"need", "have", "where", "capacity", "holders?", "most?"},
			Doc:      "The requested disk is more than any machine that may take the unit has unpromised.",
			sentence: noRoom("disk", "bytes"),
			hint: func(r *Reason) string {
				return "add a machine, stop something, or lower DiskRequest= in [X-Argosy]" + fits(r, "DiskRequest", "bytes")
			},
		},
		{
			Code: NoRoomPort, Scope: ScopeCluster, Cure: Permanent, Short: "port taken", Args: []string{"port", "proto", "where", "holder"},
			Doc:      "The host port is already promised to another unit on every machine that may take this one; known before the start.",
			sentence: say("port {port}/{proto} on {where} is held by {holder}"), hint: say("stop {holder}, choose another port, or add a machine"),
		},
		{
			Code: NoRoom, Scope: ScopeCluster, Cure: Permanent, Short: "no room", Args: []string{"machines"},
			Doc:      "Every machine lacks something, not the same thing on each (see the candidates).",
			sentence: say("no room on any of {machines} machines, each lacks something else"), hint: say("argosy why UNIT lists every machine with its numbers"),
		},
		{
			Code: Placed, Scope: ScopeUnit, Cure: Fine, Short: "placed", Args: []string{"machine", "candidates", "score?"},
			Doc: "The leader chose a machine.", sentence: say("placed on {machine}, one of {candidates} that could take it"),
		},
		{
			Code: Replaced, Scope: ScopeUnit, Cure: Fine, Short: "replaced", Args: []string{"by"},
			Doc: "Replaces= of another unit took this one's place.", sentence: say("replaced by {by}"),
		},
		{
			Code: Preempted, Scope: ScopeCluster, Cure: Transient, Short: "preempted", Args: []string{"by", "priority"},
			Doc: "A unit of a higher Priority= needed its room; it is placed elsewhere as soon as there is room.", sentence: say("gave way to {by} (Priority={priority})"),
		},
		{
			Code: MachineRemoved, Scope: ScopeMachine, Cure: Transient, Short: "machine removed", Args: []string{"machine"},
			Doc: "The machine that it was placed on is no longer part of the cluster; it is placed elsewhere.", sentence: say("{machine} is no longer part of the cluster"),
		},
		{
			Code: NotTaken, Scope: ScopeMachine, Cure: Transient, Short: "starting", Args: []string{"machine"},
			Doc: "The leader placed it, the machine's agent has not answered yet.", sentence: say("placed on {machine}, whose agent has not taken it up yet"),
		},

		{
			Code: Loading, Scope: ScopeMachine, Cure: Transient, Short: "loading", Args: nil,
			Doc: "The agent is handing the unit to the machine's runtime.", sentence: say("being loaded"),
		},
		{
			Code: NameTaken, Scope: ScopeMachine, Cure: Permanent, Short: "name taken", Args: []string{"unit", "path"},
			Doc:      "The machine already has a unit of this name that is not Argosy's. It is never overwritten.",
			sentence: say("the machine has its own {unit} at {path}"), hint: say("choose another name, or remove {path}"),
		},
		{
			Code: PropertyDiffers, Scope: ScopeMachine, Cure: Permanent, Short: "read back wrong", Args: []string{"property", "want", "have"},
			Doc:      "What the runtime read from the rendered unit is not what was submitted. The unit is not started.",
			sentence: say("{property} was read back as {have}, not {want}: not started"), hint: say("look for drop-ins on the machine that change the unit"),
		},
		{
			Code: Unsupported, Scope: ScopeMachine, Cure: Permanent, Short: "unsupported", Args: []string{"what"},
			Doc: "The machine's runtime cannot do this.", sentence: say("{what}"),
		},
		{
			Code: WaitingFor, Scope: ScopeMachine, Cure: Transient, Short: "waiting", Args: []string{"for"},
			Doc: "Ordering: After= names a unit that is still starting.", sentence: say("waits for {for} to start (After=)"),
		},
		{
			Code: DependencyFailed, Scope: ScopeUnit, Cure: Permanent, Short: "dependency", Args: []string{"dependency", "kind", "state"},
			Doc:      "A unit that it requires (Requires=, BindsTo=, Requisite=) failed or stopped.",
			sentence: say("{dependency} ({kind}=) is {state}"), hint: say("argosy why {dependency}"),
		},
		{
			Code: ConditionFailed, Scope: ScopeMachine, Cure: Permanent, Short: "condition", Args: []string{"condition"},
			Doc: "A Condition…= or Assert…= of the unit, or its ExecCondition=, does not hold on the machine.", sentence: say("{condition} does not hold"),
		},
		{
			Code: ConfigMissing, Scope: ScopeMachine, Cure: Permanent, Short: "config missing", Args: []string{"path", "error"},
			Doc:      "EnvironmentFile= cannot be read on the machine.",
			sentence: say("EnvironmentFile={path}: {error}"), hint: say("create {path} on the machine, or write EnvironmentFile=-{path} if it may be missing"),
		},
		{
			Code: SecretMissing, Scope: ScopeMachine, Cure: Permanent, Short: "secret missing", Args: []string{"credential", "error?"},
			Doc: "LoadCredential= cannot be read (systemd exit status 243).", sentence: withTail("credential {credential} cannot be loaded", "error"),
			hint: say("put the credential where LoadCredential= says"),
		},
		{
			Code: UserMissing, Scope: ScopeMachine, Cure: Permanent, Short: "no such user", Args: []string{"user"},
			Doc: "User= names no user of the machine (systemd exit status 217).", sentence: say("User={user}: no such user on this machine"), hint: say("useradd --system {user}, or change User="),
		},
		{
			Code: GroupMissing, Scope: ScopeMachine, Cure: Permanent, Short: "no such group", Args: []string{"group"},
			Doc: "Group= or SupplementaryGroups= names no group of the machine (systemd exit status 216).", sentence: say("Group={group}: no such group on this machine"), hint: say("groupadd --system {group}, or change Group="),
		},
		{
			Code: DirectoryMissing, Scope: ScopeMachine, Cure: Permanent, Short: "no directory", Args: []string{"path", "error?"},
			Doc: "WorkingDirectory= cannot be entered (systemd exit status 200).", sentence: withTail("WorkingDirectory={path} cannot be entered", "error"), hint: say("create {path}, or change WorkingDirectory="),
		},
		{
			Code: PortTaken, Scope: ScopeMachine, Cure: Permanent, Short: "port taken", Args: []string{"port", "proto", "holder", "pid?"},
			Doc: "The host port is held by a process that is not this unit's: seen in the machine's socket table before the start, or after the unit said \"address already in use\".",
			sentence: func(r *Reason) string {
				s := say("port {port}/{proto} is held by {holder}")(r)
				if r.Int("pid") > 0 {
					s += say(" (pid {pid})")(r)
				}
				return s
			},
			hint: say("stop {holder}, or choose another port"),
		},
		{
			Code: ExecNotFound, Scope: ScopeMachine, Cure: Permanent, Short: "not found", Args: []string{"path", "directive?"},
			Doc:      "The program of an Exec line is not on the machine (systemd exit status 203, ENOENT), or its interpreter is not.",
			sentence: say("{path} not found (203)"), hint: say("install {path} on the machine, or correct the Exec line"),
		},
		{
			Code: Permission, Scope: ScopeMachine, Cure: Permanent, Short: "permission", Args: []string{"path", "error?"},
			Doc: "The program is there but may not be executed (203, EACCES).", sentence: withTail("{path} may not be executed (203)", "error"), hint: say("chmod +x {path}, or correct User="),
		},
		{
			Code: SetupFailed, Scope: ScopeMachine, Cure: Permanent, Short: "set-up failed", Args: []string{"step", "status", "error?"},
			Doc: "A step between fork and exec failed: systemd's exit statuses 200 to 243 (systemd.exec(5)).", sentence: withTail("set-up step {step} failed ({status})", "error"),
		},
		{
			Code: DiskFull, Scope: ScopeMachine, Cure: Permanent, Short: "disk full", Args: []string{"path", "free"},
			Doc: "The machine's disk has no room for what the start writes.", sentence: say("{path} has {free|bytes} free"), hint: say("free space on the machine"),
		},
		{
			Code: CannotStart, Scope: ScopeMachine, Cure: Permanent, Short: "cannot start", Args: []string{"error"},
			Doc: "The runtime could not start the unit, for a cause without a code of its own.", sentence: say("cannot start: {error}"),
		},
		{
			Code: Starting, Scope: ScopeUnit, Cure: Transient, Short: "starting", Args: []string{"step?"},
			Doc: "On its way up: ExecStartPre=, the main process, READY=1, ExecStartPost=.", sentence: withTail("starting", "step"),
		},
		{
			Code: StartTimeout, Scope: ScopeUnit, Cure: Permanent, Short: "start timeout", Args: []string{"after", "step?"},
			Doc: "Not up within TimeoutStartSec=.", sentence: withTail("not up within {after|span} (TimeoutStartSec=)", "step"), hint: say("argosy journal UNIT shows what it was doing; raise TimeoutStartSec= if it needs longer"),
		},
		{
			Code: Protocol, Scope: ScopeUnit, Cure: Permanent, Short: "protocol", Args: []string{"error"},
			Doc: "The service did not keep to its Type=: a notify service ended without READY=1, a forking one left no PID file.", sentence: say("{error}"), hint: say("check Type= and PIDFile="),
		},
		{
			Code: Settling, Scope: ScopeUnit, Cure: Transient, Short: "settling", Args: []string{"for", "of"},
			Doc: "Running, and watched for its stability window (Monitor=) before it is called healthy.", sentence: say("running for {for|span}, healthy after {of|span} without trouble"),
		},
		{
			Code: NotReady, Scope: ScopeUnit, Cure: Transient, Short: "not ready", Args: []string{"check", "error"},
			Doc: "Running, but its port or health check has not answered well yet.", sentence: say("{check} has not answered well yet: {error}"),
		},
		{
			Code: Unhealthy, Scope: ScopeUnit, Cure: Permanent, Short: "unhealthy", Args: []string{"check", "error", "times"},
			Doc: "Running, but its health check fails repeatedly.", sentence: say("{check}: {error}, {times|times} in a row"), hint: say("argosy journal UNIT"),
		},
		{
			Code: OOMKilled, Scope: ScopeUnit, Cure: Permanent, Short: "out of memory", Args: []string{"limit", "kills", "peak?", "request?"},
			Doc: "The kernel killed it at its memory limit: counted in the cgroup's own oom_kill counter, never guessed from exit code 137.",
			sentence: func(r *Reason) string {
				if r.Int("limit") <= 0 {
					return say("killed because the machine was out of memory, {kills|times}")(r)
				}
				s := say("killed at MemoryMax={limit|bytes}, {kills|times}")(r)
				if r.Int("peak") > 0 {
					s += say(", peak {peak|bytes}")(r)
				}
				return s
			},
			hint: func(r *Reason) string {
				if r.Int("limit") <= 0 {
					return "set MemoryMax= so that it is the unit that ends, not the machine"
				}
				return "raise MemoryMax=, or find what grows"
			},
		},
		{
			Code: Watchdog, Scope: ScopeUnit, Cure: Permanent, Short: "watchdog", Args: []string{"after"},
			Doc: "No WATCHDOG=1 within WatchdogSec=.", sentence: say("no WATCHDOG=1 for {after|span} (WatchdogSec=)"),
		},
		{
			Code: RuntimeMax, Scope: ScopeUnit, Cure: Permanent, Short: "ran too long", Args: []string{"after"},
			Doc: "RuntimeMaxSec= was reached.", sentence: say("stopped after {after|span} (RuntimeMaxSec=)"),
		},
		{
			Code: Signal, Scope: ScopeUnit, Cure: Permanent, Short: "killed", Args: []string{"signal", "uptime", "directive?"},
			Doc: "A process of the unit ended by a signal that Argosy did not send.", sentence: say("killed by {signal} after {uptime|span}"), hint: say("argosy journal UNIT"),
		},
		{
			Code: CoreDump, Scope: ScopeUnit, Cure: Permanent, Short: "crashed", Args: []string{"signal", "uptime"},
			Doc: "It crashed and left a core.", sentence: say("crashed with {signal} after {uptime|span}, core dumped"), hint: say("argosy journal UNIT"),
		},
		{
			Code: Exit, Scope: ScopeUnit, Cure: Permanent, Short: "exited", Args: []string{"status", "uptime", "directive?"},
			Doc: "It ended by itself with a status that means failure, or ended at all where it was to keep running.",
			sentence: func(r *Reason) string {
				s := say("exit {status} after {uptime|span}")(r)
				if d := r.Str("directive"); d != "" && d != "ExecStart" {
					s = d + "=: " + s
				}
				return s
			},
			hint: say("argosy journal UNIT"),
		},
		{
			Code: BackingOff, Scope: ScopeUnit, Cure: Transient, Short: "backing off", Args: []string{"next", "last"},
			Doc: "It ended and waits RestartSec= for the next try.", sentence: say("next try in {next|span}; last: {last}"),
		},
		{
			Code: CrashLoop, Scope: ScopeUnit, Cure: Permanent, Short: "crash loop", Args: []string{"count", "window", "last", "limit?"},
			Doc: "It ended 3 times and more within 60 s, or reached its StartLimitBurst=.",
			sentence: func(r *Reason) string {
				s := say("ended {count|times} in {window|span}; last: {last}")(r)
				if r.Str("limit") != "" {
					s += say("; given up ({limit})")(r)
				}
				return s
			},
			hint: say("argosy journal UNIT shows what it said; argosy why UNIT compares"),
		},
		{
			Code: StopTimeout, Scope: ScopeUnit, Cure: Permanent, Short: "stop timeout", Args: []string{"after"},
			Doc: "It did not end within TimeoutStopSec= and was killed.", sentence: say("did not stop within {after|span} (TimeoutStopSec=) and was killed"),
		},
		{
			Code: LimitNotEnforced, Scope: ScopeMachine, Cure: Permanent, Short: "limit not enforced", Args: []string{"limit", "error"},
			Doc: "The unit asks for a limit that this machine cannot enforce. It runs without it, and that is said.", sentence: say("{limit} is not enforced on this machine: {error}"),
			hint: say("run Argosy where it may write the machine's cgroups"),
		},
		{
			Code: RuntimeDown, Scope: ScopeMachine, Cure: Transient, Short: "runtime down", Args: []string{"runtime", "error"},
			Doc: "The machine's runtime does not answer its agent.", sentence: say("the {runtime} runtime does not answer: {error}"),
		},
		{
			Code: MachineLost, Scope: ScopeMachine, Cure: Transient, Short: "machine lost", Args: []string{"machine"},
			Doc: "The machine that ran it has not been heard of within its lease.", sentence: say("{machine} has not been heard of; what runs there is not known"),
		},
		{
			Code: MassStop, Scope: ScopeMachine, Cure: Permanent, Short: "mass stop refused", Args: []string{"units", "running"},
			Doc:      "The store no longer places more than a fifth (and at least 3) of the machine's running units there, and nobody asked for it. That looks like an odd read, not like a wish: they keep running.",
			sentence: say("{units} of {running} running units are no longer placed here and nobody asked for that: they keep running"),
			hint:     say("argosy stop UNIT or argosy destroy UNIT for those that are to go; argosy start UNIT for those that are to stay"),
		},
		{
			Code: Fencing, Scope: ScopeMachine, Cure: Transient, Short: "waiting for its last machine", Args: []string{"unit", "machine"},
			Doc:      "Exclusive=yes: its last machine may still run it. It is started elsewhere when that machine says that it has stopped it, or when its keeper must have stopped it.",
			sentence: say("{machine} may still run {unit}, which runs on one machine at a time"),
			hint:     say("it is started elsewhere by itself in less than a minute"),
		},
		{
			Code: NoLease, Scope: ScopeMachine, Cure: Transient, Short: "no live lease", Args: []string{"unit"},
			Doc:      "Exclusive=yes: the machine has to hold a live lease, and the store to say that the unit is still placed here, before it is started.",
			sentence: say("{unit} runs on one machine at a time and waits for the store to confirm that it is this one"),
			hint:     say("it is started by itself when this machine reaches the servers"),
		},
		{
			Code: Unsteady, Scope: ScopeMachine, Cure: Transient, Short: "machine comes and goes", Args: []string{"machine", "times"},
			Doc:      "The machine was lost and came back. It takes new units when it has been there for a minute, and for twice as long each time that it is lost again, up to half an hour.",
			sentence: say("{machine} was lost and came back; it takes new units when it has been there for a while"),
			hint:     say("look at the machine's network and load"),
		},
		{
			Code: ManyLost, Scope: ScopeCluster, Cure: Transient, Short: "too many machines lost", Args: []string{"lost", "machines"},
			Doc:      "More than half of the machines, and at least three, were lost within a minute. That looks like a cut network, not like dead machines: nothing is moved until they come back.",
			sentence: say("{lost} of {machines} machines were lost within a minute: nothing is moved until they are back"),
			hint:     say("look at the network between the machines; argosy machine rm MACHINE for those that are dead for good"),
		},

		{
			Code: Stopping, Scope: ScopeUnit, Cure: Transient, Short: "stopping", Args: nil,
			Doc: "On its way down: ExecStop=, KillSignal=, ExecStopPost=.", sentence: say("stopping"),
		},
		{
			Code: StoppedByUser, Scope: ScopeUnit, Cure: Fine, Short: "stopped", Args: []string{"who?"},
			Doc: "A person asked for it.", sentence: func(r *Reason) string {
				if w := r.Str("who"); w != "" {
					return "stopped by " + w
				}
				return "stopped as asked"
			},
		},
		{
			Code: NotStarted, Scope: ScopeUnit, Cure: Fine, Short: "not started", Args: nil,
			Doc: "Submitted or loaded, and nobody asked for its start.", sentence: say("nobody has asked for its start"), hint: say("argosy start UNIT"),
		},
		{
			Code: Finished, Scope: ScopeUnit, Cure: Fine, Short: "finished", Args: []string{"took?"},
			Doc: "It did its work and ended with success.", sentence: say("finished with success"),
		},
		{
			Code: TimerWaiting, Scope: ScopeUnit, Cure: Fine, Short: "armed", Args: []string{"next"},
			Doc: "A timer that waits for its next run.", sentence: say("next run {next}"),
		},
		{
			Code: Healthy, Scope: ScopeUnit, Cure: Fine, Short: "healthy", Args: []string{"evidence?"},
			Doc: "Running, ready, and stable for its window.", sentence: withTail("running and stable", "evidence"),
		},
	}, append(append(members(), machines()...), identities()...)...)
}

// Lookup finds the table's entry of a code.
func Lookup(code Code) (Entry, bool) {
	e, ok := index[code]
	if !ok {
		return Entry{}, false
	}
	return *e, true
}

// Codes lists every code, in the table's order.
func Codes() []Code {
	out := make([]Code, len(Table))
	for i, e := range Table {
		out[i] = e.Code
	}
	return out
}

// ParseScope reads a scope's name.
func ParseScope(s string) (Scope, error) {
	switch Scope(s) {
	case ScopeUnit, ScopeMachine, ScopeCluster:
		return Scope(s), nil
	}
	return "", fmt.Errorf("%q is not a scope", s)
}
