// Package spawn starts processes through a small helper: a re-exec of our own binary that reads its set-up
// from a file descriptor, applies what has to be done between fork and exec (limits, user, directory, streams),
// and execs. What fails there is reported over a pipe with systemd's exit status and a reason
// (systemd.exec(5), "Process Exit Codes"). It decides nothing about units.
package spawn

import "argosy.dev/argosy/reason"

// HelperName is the first argument that makes the binary act as the helper.
const HelperName = "native-exec"

// The helper's file descriptors.
const (
	setupFD  = 3
	reportFD = 4
)

// Setup is everything the helper needs. The zero value of a field means: leave it.
type Setup struct {
	Path      string   `json:"path"` // Absolute.
	Argv      []string `json:"argv"`
	Env       []string `json:"env"`
	Directive string   `json:"directive"`

	Dir         string `json:"dir,omitempty"`
	DirOptional bool   `json:"dir_optional,omitempty"`

	SetUser bool     `json:"set_user,omitempty"`
	UID     int      `json:"uid,omitempty"`
	GID     int      `json:"gid,omitempty"`
	Groups  []int    `json:"groups,omitempty"`
	UMask   int      `json:"umask"`
	Limits  []Limit  `json:"limits,omitempty"`
	Nice    *int     `json:"nice,omitempty"`
	OOM     *int     `json:"oom,omitempty"`
	NNP     bool     `json:"nnp,omitempty"`
	SIGPIPE bool     `json:"sigpipe,omitempty"` // Ignore SIGPIPE.
	Cgroups []string `json:"cgroups,omitempty"` // cgroup.procs files to enter.

	// Fail is what was found wrong before: the helper ends with it, so that it looks like any failed set-up.
	Fail *Failure `json:"fail,omitempty"`

	Stdin  Stream `json:"stdin"`
	Stdout Stream `json:"stdout"`
	Stderr Stream `json:"stderr"`
}

// Limit is one setrlimit(2).
type Limit struct {
	Name     string `json:"name"`
	Resource int    `json:"resource"`
	Soft     uint64 `json:"soft"`
	Hard     uint64 `json:"hard"`
}

// Stream says what a standard stream is: a path to open, data to read, or a copy of stdout.
type Stream struct {
	Path   string `json:"path,omitempty"` // Empty: /dev/null.
	Flags  int    `json:"flags,omitempty"`
	Data   []byte `json:"data,omitempty"`
	AsData bool   `json:"as_data,omitempty"`
	AsOut  bool   `json:"as_out,omitempty"`
}

// Failure is what the helper reports before it gives up with Status.
type Failure struct {
	Status int            `json:"status"` // systemd's 200 to 243.
	Reason *reason.Reason `json:"reason"`
}
