package reason

// identities are the reasons of certificates and join tokens: why a machine, a server or a user is not let in.
func identities() []Entry {
	return []Entry{
		{
			Code: BadToken, Scope: ScopeCluster, Cure: Permanent, Short: "not a token", Args: []string{"error"},
			Doc:      "The text is not a join token: cut off, mistyped, or of another version. Nothing was sent.",
			sentence: say("this is not a join token: {error}"),
			hint:     say("copy the whole line that argosy token create printed; it begins with ARG1."),
		},
		{
			Code: TokenUnknown, Scope: ScopeCluster, Cure: Permanent, Short: "unknown token", Args: []string{"id"},
			Doc:      "No token has this id and this secret: it was revoked, used up and cleared away, or belongs to another cluster. Which of these is not told to who asks.",
			sentence: say("the cluster knows no token {id} with this secret"), hint: say("argosy token create on a machine of the cluster makes a new one"),
		},
		{
			Code: TokenExpired, Scope: ScopeCluster, Cure: Permanent, Short: "token expired", Args: []string{"id", "after"},
			Doc: "The token's time is over.", sentence: say("token {id} expired {after|span} ago"), hint: say("argosy token create makes a new one; --ttl gives it more time"),
		},
		{
			Code: TokenUsed, Scope: ScopeCluster, Cure: Permanent, Short: "token used", Args: []string{"id"},
			Doc: "The token has admitted as many machines as it may.", sentence: say("token {id} has been used as often as it may be"),
			hint: say("argosy token create makes a new one; --uses lets it admit several machines"),
		},
		{
			Code: TokenRole, Scope: ScopeCluster, Cure: Permanent, Short: "wrong role", Args: []string{"id", "role", "want"},
			Doc: "The token admits a machine in another role than the one asked for.", sentence: say("token {id} admits a {role}, not a {want}"),
			hint: say("argosy token create --role {want}"),
		},
		{
			Code: CertificateInvalid, Scope: ScopeMachine, Cure: Permanent, Short: "bad certificate", Args: []string{"who", "error"},
			Doc:      "A certificate that this cluster would not have issued: its name is not spiffe://CLUSTER/KIND/NAME, or it may not be used for this.",
			sentence: say("the certificate of {who} is refused: {error}"),
		},
		{
			Code: CertificateExpired, Scope: ScopeMachine, Cure: Permanent, Short: "expired", Args: []string{"who", "after", "now"},
			Doc:      "The certificate's time is over. A machine renews its own from half of its life on, and late for 30 days after its end.",
			sentence: say("the certificate of {who} expired {after|span} before this machine's {now}"),
			hint:     say("compare the clocks of both machines; a machine away for more than 30 days joins again, a user asks for a new certificate"),
		},
		{
			Code: CertificateEarly, Scope: ScopeMachine, Cure: Transient, Short: "not yet valid", Args: []string{"who", "next", "now"},
			Doc:      "The certificate is not valid yet. Certificates begin an hour before they are issued, so one clock is more than an hour wrong.",
			sentence: say("the certificate of {who} is not valid before another {next|span} from this machine's {now}"), hint: say("set the clocks of both machines"),
		},
		{
			Code: CertificateRevoked, Scope: ScopeMachine, Cure: Permanent, Short: "revoked", Args: []string{"who"},
			Doc: "A person took this identity's rights away (argosy machine revoke, argosy user rm).", sentence: say("{who} has been revoked"),
		},
		{
			Code: CertificateRefused, Scope: ScopeMachine, Cure: Permanent, Short: "refused", Args: []string{"error"},
			Doc:      "The other side ended the TLS handshake because of our certificate; it says no more than the alert.",
			sentence: say("the other side refuses our certificate: {error}"),
			hint:     say("argosy audit on a server names the reason; compare the clocks, and whether this machine or user was revoked"),
		},
		{
			Code: WrongCluster, Scope: ScopeMachine, Cure: Permanent, Short: "wrong cluster", Args: []string{"who", "found", "want"},
			Doc: "The certificate belongs to another cluster.", sentence: say("{who} belongs to cluster {found}, not to {want}"),
			hint: say("check the addresses: another cluster answers there"),
		},
		{
			Code: WrongIdentity, Scope: ScopeMachine, Cure: Permanent, Short: "wrong identity", Args: []string{"who", "want"},
			Doc:      "The other side is a member of the cluster, but not the one that was called: an address has changed hands.",
			sentence: say("{who} answered where {want} was called"),
		},
		{
			Code: CAUnknown, Scope: ScopeMachine, Cure: Permanent, Short: "unknown CA", Args: []string{"who"},
			Doc:      "The certificate was not issued by a CA that this machine trusts: of another cluster, of the other of the cluster's two CAs, or from before the last rotation.",
			sentence: say("the certificate of {who} was not issued by a CA that this machine trusts"),
		},
		{
			Code: CAMismatch, Scope: ScopeCluster, Cure: Permanent, Short: "wrong CA", Args: []string{"want"},
			Doc:      "The server that answered does not have the CA that the token names. Nothing was sent to it: neither the token's secret nor anything else.",
			sentence: say("the server that answered does not have the CA that the token names (sha256 {want}): nothing was sent to it"),
			hint:     say("check the addresses; if the CA was rotated since, argosy token create makes a new token"),
		},
		{
			Code: NoSuchContext, Scope: ScopeCluster, Cure: Permanent, Short: "no such context", Args: []string{"name", "known?"},
			Doc: "This person keeps no context of this name: no way to a cluster under it.", sentence: say("there is no context {name}"),
			hint: func(r *Reason) string {
				if r.Str("known") != "" {
					return "there are " + r.Str("known")
				}
				return "argosy user add, on a server, makes one; argosy context add FILE keeps it here"
			},
		},
		{
			Code: CARotating, Scope: ScopeCluster, Cure: Permanent, Short: "CA is rotating", Args: []string{"error", "cure?"},
			Doc: "A rotation of the CA is under way, or none is, or somebody has no certificate of the new root yet.", sentence: say("{error}"),
			hint: func(r *Reason) string {
				if c := r.Str("cure"); c != "" {
					return c
				}
				return "argosy ca status shows how far it is"
			},
		},
		{
			Code: IdentityFile, Scope: ScopeMachine, Cure: Permanent, Short: "identity file", Args: []string{"path", "error"},
			Doc:      "A file of this machine's identity is missing or cannot be read. Argosy does not start without it rather than trust nobody or everybody.",
			sentence: say("{path}: {error}"), hint: say("put the file back from a backup, or join again after removing the directory it is in"),
		},
		{
			Code: IdentityExposed, Scope: ScopeMachine, Cure: Permanent, Short: "exposed file", Args: []string{"path", "mode", "want"},
			Doc:      "A file of this machine's identity may be read or changed by other users of the machine.",
			sentence: say("{path} has mode {mode}: other users may have read or changed it"), hint: say("chmod {want} {path}; if others use this machine, revoke it and join again"),
		},
		{
			Code: ClusterKeyWrong, Scope: ScopeCluster, Cure: Permanent, Short: "wrong cluster key", Args: []string{"error"},
			Doc:      "The record of the cluster's CA cannot be opened: the key is another cluster's, or the record was changed.",
			sentence: say("the record of the cluster's CA cannot be opened: {error}"), hint: say("take cluster.key from another server of this cluster"),
		},
	}
}
