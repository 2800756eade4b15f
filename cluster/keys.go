package cluster

import "strings"

// Keys of the store. One prefix, one writer (see store.Writer).
const (
	UnitsPrefix      = "units/"      // units/NAME: Wanted. A person.
	PlacementsPrefix = "placements/" // placements/MACHINE/NAME: Placement. The leader.
	UnplacedPrefix   = "unplaced/"   // unplaced/NAME: Placement without a machine, with the reason. The leader.
	StatusesPrefix   = "statuses/"   // statuses/MACHINE/NAME: Status. That machine's agent.
	MachinesPrefix   = "machines/"   // machines/ID: Machine. That machine.
	AdminPrefix      = "admin/"      // admin/ID: MachineAdmin. A person.
	AlivePrefix      = "alive/"      // alive/ID: lease-bound; there while the machine is heard of. That machine.
	CondemnedPrefix  = "condemned/"  // condemned/ID: Condemned. The leader.
	LeaderPrefix     = "leader/"     // leader/term: Reign, the link between the leader's writes. The leader.
	MembersPrefix    = "members/"    // members/MACHINE: Member. The leader.
	TokensPrefix     = "tokens/"     // tokens/ID: identity.Grant, what a join token admits. A person.
	UsersPrefix      = "users/"      // users/NAME: User. A person.
	RevokedPrefix    = "revoked/"    // revoked/KIND/NAME: Revoked. A person.
	TrustPrefix      = "ca/"         // ca/authority: the cluster's certificate authority, its keys sealed. A person.
	IssuedPrefix     = "ca/issued/"  // ca/issued/KIND/NAME: trust.Issued. A person, or a machine that renews, through api.
	SettingsPrefix   = "settings/"   // settings/cluster: Settings. A person.
)

// UnitKey is where the wish for a unit lies.
func UnitKey(name string) string { return UnitsPrefix + name }

// PlacementKey is where the placement of a unit on a machine lies.
func PlacementKey(machine, name string) string { return PlacementsPrefix + machine + "/" + name }

// UnplacedKey is where the leader says why a unit is on no machine.
func UnplacedKey(name string) string { return UnplacedPrefix + name }

// StatusKey is where a machine's agent says what a unit does there.
func StatusKey(machine, name string) string { return StatusesPrefix + machine + "/" + name }

// MachineKey is where a machine describes itself.
func MachineKey(id string) string { return MachinesPrefix + id }

// AdminKey is where a person's word about a machine lies.
func AdminKey(id string) string { return AdminPrefix + id }

// AliveKey is there while the machine's lease is renewed.
func AliveKey(id string) string { return AlivePrefix + id }

// CondemnedKey is there when an epoch of the machine was ended by the leader.
func CondemnedKey(id string) string { return CondemnedPrefix + id }

// LeaderKey is where the leader says who it is; each of its writes holds on to the one before.
func LeaderKey() string { return LeaderPrefix + "term" }

// MemberKey is where the leader says that a machine holds a part of the store.
func MemberKey(machine string) string { return MembersPrefix + machine }

// TokenKey is where a join token's grant lies.
func TokenKey(id string) string { return TokensPrefix + id }

// UserKey is where a user's role stands.
func UserKey(name string) string { return UsersPrefix + name }

// RevokedKey is there when the certificates of a machine or a user count no more; kind as in package identity.
func RevokedKey(kind, name string) string { return RevokedPrefix + kind + "/" + name }

// AuthorityKey is where the certificate authority lies.
func AuthorityKey() string { return TrustPrefix + "authority" }

// IssuedKey is where the last certificate of a machine or user is noted; kind as in package identity.
func IssuedKey(kind, name string) string { return IssuedPrefix + kind + "/" + name }

// SettingsKey is where the cluster's settings lie.
func SettingsKey() string { return SettingsPrefix + "cluster" }

// splitKey takes a key apart into its prefix (with the slash) and the rest.
func splitKey(key string) (prefix, rest string) {
	i := strings.IndexByte(key, '/')
	if i < 0 {
		return key, ""
	}
	return key[:i+1], key[i+1:]
}
