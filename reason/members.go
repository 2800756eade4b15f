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
	}
}
