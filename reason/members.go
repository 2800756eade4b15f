package reason

// members are the reasons of the machines that hold the store: why they change, and why they do not.
func members() []Entry {
	return []Entry{
		{
			Code: StoreNotReady, Scope: ScopeCluster, Cure: Transient, Short: "store not ready", Args: []string{"what", "error"},
			Doc:      "The members of the store may not be changed right now: they have to be connected to each other for five seconds, and a majority has to answer.",
			sentence: say("cannot {what} yet: {error}"),
		},
		{
			Code: LearnerBehind, Scope: ScopeCluster, Cure: Transient, Short: "catching up", Args: []string{"member"},
			Doc:      "The new member of the store has not received enough of it to get a vote.",
			sentence: say("{member} has not caught up with the store yet"),
		},
		{
			Code: MembersRight, Scope: ScopeCluster, Cure: Fine, Short: "as wished", Args: []string{"voters"},
			Doc: "The store has as many voting members as it is to have, and all of them answer.", sentence: say("the store has its {voters} voting members"),
		},
		{
			Code: MembersFew, Scope: ScopeCluster, Cure: Transient, Short: "too few servers", Args: []string{"have", "want", "servers"},
			Doc:      "Fewer server machines are there than voting members are wished. Even numbers are no help: two members stop when one is lost, as one does.",
			sentence: say("the store has {have} of {want} wished voting members: {servers} server machines can hold it"),
			hint:     say("argosy token create --role server, and argosy join on another machine"),
		},
		{
			Code: MembersWait, Scope: ScopeCluster, Cure: Transient, Short: "waiting", Args: []string{"member", "what", "next"},
			Doc:      "The members of the store stay as they are until something is over: a voter that is away has its time to come back, a new one has its time to catch up.",
			sentence: say("{member} {what}: waiting for another {next|span}"),
			hint:     say("argosy machine rm {member} replaces it at once"),
		},
		{
			Code: MembersUnsafe, Scope: ScopeCluster, Cure: Transient, Short: "would lose majority", Args: []string{"what", "alive", "voters", "need"},
			Doc:      "A change of the store's members is not made, because too few of them answer right now: after it a majority could be missing.",
			sentence: say("not now: {what} needs {need} of {voters} voting members to answer, and {alive} do"),
			hint:     say("bring the members back that are away, or add a server"),
		},
		{
			Code: MembersLost, Scope: ScopeCluster, Cure: Transient, Short: "no majority", Args: []string{"alive", "voters", "need"},
			Doc:      "Too few voting members of the store answer for any change at all. Running units are not touched.",
			sentence: say("{alive} of {voters} voting members of the store answer, and {need} are needed"),
			hint:     say("bring one back; if they are lost for good: argosy recover"),
		},
		{
			Code: MembersChange, Scope: ScopeCluster, Cure: Transient, Short: "changing", Args: []string{"member", "what", "why"},
			Doc:      "The members of the store are being changed, one at a time.",
			sentence: say("{member} {what}: {why}"),
		},
		{
			Code: MajorityThere, Scope: ScopeCluster, Cure: Permanent, Short: "not lost", Args: []string{"alive", "voters", "servers"},
			Doc:      "A recovery makes one machine the only one that holds the store. It is refused while a majority answers: nothing is lost then, and what only the others have would be.",
			sentence: say("nothing is to be recovered: {alive} of {voters} voting members of the store answer ({servers})"),
			hint:     say("argosy etcd status; --force does it all the same, and what only the others have is lost"),
		},
		{
			Code: NoStoreHere, Scope: ScopeMachine, Cure: Permanent, Short: "holds no store", Args: []string{"machine", "what"},
			Doc:      "A recovery or a restore takes a machine that was a server of the cluster: with its part of the store, or with the cluster's key beside a snapshot.",
			sentence: say("{machine} cannot be recovered from: {what}"),
			hint:     say("do it on a machine that was a server; snapshots lie on servers in DATA/snapshots: argosy recover --from SNAPSHOT"),
		},
		{
			Code: UnknownUnits, Scope: ScopeMachine, Cure: Permanent, Short: "unknown units", Args: []string{"units", "names"},
			Doc:      "The store was restored from a snapshot, and these units run on the machine without the store knowing why: they keep running until a person has settled it.",
			sentence: say("{units} running units are not in the snapshot that the store was restored from, or were stopped in it: {names}. They keep running"),
			hint:     say("submit and start those that are to stay; argosy snapshot settle then stops the others"),
		},
	}
}
