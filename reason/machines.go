package reason

// machines are the reasons of machines that take nothing new, or that units are moved away from.
func machines() []Entry {
	return []Entry{
		{
			Code: MachinePressure, Scope: ScopeMachine, Cure: Transient, Short: "under pressure", Args: []string{"machine", "what", "share", "limit"},
			Doc: "Programs on the machine wait for memory, for the disk or for a processor (/proc/pressure, the last minute). " +
				"It takes nothing new until that has been over for a while; what runs there goes on.",
			sentence: say("{machine} is short of {what}: programs waited for it {share} % of the last minute (limit {limit} %)"),
			hint:     say("argosy machine show {machine}; argosy machine drain {machine} moves its units away"),
		},
		{
			Code: MachineDisk, Scope: ScopeMachine, Cure: Permanent, Short: "disk nearly full", Args: []string{"machine", "dir", "used", "free", "limit"},
			Doc:      "The file system of the machine's data directory is nearly full. It takes nothing new until there is room again.",
			sentence: say("the disk of {machine} is {used} % full at {dir}, {free|bytes} are left (limit {limit} %)"),
			hint:     say("make room there, or argosy machine drain {machine}"),
		},
		{
			Code: MachineClock, Scope: ScopeMachine, Cure: Permanent, Short: "wrong clock", Args: []string{"machine", "skew", "limit"},
			Doc:      "The machine's clock differs from the servers' by more than certificates, timers and logs can bear. It takes nothing new.",
			sentence: say("the clock of {machine} is {skew|span} off the servers' (limit {limit|span})"),
			hint:     say("let chrony or systemd-timesyncd set it"),
		},
		{
			Code: MachineDraining, Scope: ScopeMachine, Cure: Transient, Short: "draining", Args: []string{"machine"},
			Doc:      "A person has asked that the machine's units move elsewhere.",
			sentence: say("{machine} is being drained"), hint: say("argosy machine uncordon {machine} ends that"),
		},
		{
			Code: StaysGlobal, Scope: ScopeUnit, Cure: Fine, Short: "global", Args: []string{"unit", "machine"},
			Doc:      "The unit runs on every machine, so it has nowhere to move to.",
			sentence: say("{unit} is global, so it stays on {machine} as long as that is there"),
		},
		{
			Code: StaysPinned, Scope: ScopeUnit, Cure: Permanent, Short: "pinned", Args: []string{"unit", "machine"},
			Doc:      "The unit asks for this very machine (MachineID=), so it has nowhere to move to.",
			sentence: say("{unit} may run on {machine} only (MachineID=)"),
			hint:     say("take MachineID= out of {unit}, or argosy stop {unit}"),
		},
		{
			Code: MachineAlive, Scope: ScopeMachine, Cure: Permanent, Short: "alive", Args: []string{"machine", "units"},
			Doc:      "A machine that is alive is not removed: its units run, and nobody would know of them.",
			sentence: say("{machine} is alive, and {units} units are placed on it"),
			hint:     say("argosy machine drain {machine}, stop argosy there, and try again; --force removes it now and refuses its certificates"),
		},
	}
}
