package supervisor

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"argosy.dev/argosy/fence"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/runtime/native/internal/engine"
	"argosy.dev/argosy/runtime/native/internal/proto"
)

// The init process is the keeper of exclusive units (package fence): it lives on when the agent is dead or frozen, and
// what it holds outlives it in a file, for the init process after it.

// keeperLook is how often the deadline is looked at while exclusive units may run: the timer of the loop stands still while
// the machine is suspended.
const keeperLook = time.Second

// heldFile is that file's content.
type heldFile struct {
	Boot   string       `json:"boot"` // The boot clock is of this boot only.
	Keeper fence.Keeper `json:"keeper"`
}

func bootClock() time.Duration {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) != nil {
		return 1 << 62 // It does not fail; if it did, every deadline would be over.
	}
	return time.Duration(ts.Nano())
}

func (in *Init) keeperPath() string { return filepath.Join(in.dir, "keeper.json") }

// handleKeeper does what an agent's Fencer asks for.
func (in *Init) handleKeeper(r *proto.Request, m *proto.Reply) {
	var err error
	switch r.Op {
	case proto.Held:
		k := in.keeper.Clone()
		m.Keeper = &k
		return
	case proto.Epoch:
		err = in.keeper.Begin(r.Epoch, in.exclusiveUp())
	case proto.Renewed:
		err = in.keeper.Renewed(r.Epoch, r.Sent)
	case proto.Condemned:
		in.keeper.Condemned(r.Epoch)
	case proto.Allow:
		err = in.keeper.Allow(r.Unit, r.Placement, r.Epoch, bootClock())
	}
	if err == nil {
		err = in.keepKeeper()
	}
	if err != nil {
		m.Refused = err.Error()
	}
}

// keepKeeper writes what the keeper holds. What an older file says is an earlier deadline, which is safe.
func (in *Init) keepKeeper() error {
	raw, err := json.Marshal(heldFile{in.boot, in.keeper})
	if err != nil {
		return err
	}
	return writeState(in.keeperPath(), raw)
}

// restoreKeeper takes over what an init process before us held on this boot. Without it no exclusive unit goes on.
func (in *Init) restoreKeeper() {
	raw, err := os.ReadFile(in.keeperPath())
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	var h heldFile
	sum, body, _ := bytes.Cut(raw, []byte("\n"))
	want := sha256.Sum256(body)
	if err == nil && string(sum) != hex.EncodeToString(want[:]) {
		err = errors.New("the checksum is wrong")
	}
	if err == nil {
		err = json.Unmarshal(body, &h)
	}
	switch {
	case err != nil:
		in.log.Error("what was known of the machine's lease cannot be read: exclusive units stop", "error", err)
	case h.Boot == in.boot:
		in.keeper = h.Keeper
	}
}

func exclusive(u *engine.Unit) bool {
	return u.Service != nil && u.Def != nil && u.Def.Argosy.Exclusive
}

// exclusiveUp tells whether an exclusive unit is anything but down.
func (in *Init) exclusiveUp() bool {
	for _, u := range in.engine.Units() {
		if exclusive(u) && !u.Down() {
			return true
		}
	}
	return false
}

// noLeave refuses a start for which the keeper gives no leave.
func (in *Init) noLeave(u *engine.Unit) *reason.Reason {
	if !exclusive(u) {
		return nil
	}
	if !in.keeper.MayRun(u.Name, bootClock()) {
		return reason.Because(reason.NoLease, reason.Args{"unit": u.Name})
	}
	if in.keeper.Cut[u.Name] {
		in.keeper.Began(u.Name)
		if err := in.keepKeeper(); err != nil {
			in.log.Warn("what the keeper holds cannot be written", "error", err)
		}
	}
	return nil
}

// stopOverdue stops the exclusive units whose time is over, and those that run without leave.
func (in *Init) stopOverdue() {
	late := in.keeper.Overdue(bootClock())
	if len(late) > 0 {
		in.log.Error("the machine's lease was not renewed in time: its exclusive units stop", "units", late)
		if err := in.keepKeeper(); err != nil {
			in.log.Warn("what the keeper holds cannot be written", "error", err)
		}
	}
	for _, u := range in.engine.Units() {
		if !exclusive(u) || u.Down() || u.Job() == "stop" {
			continue
		}
		if _, allowed := in.keeper.Allowed[u.Name]; allowed {
			continue
		}
		in.Say(u.Service, "Stopping: this machine's lease was not renewed in time, and another machine may be about to run the unit.")
		if why := in.engine.Stop(u.Name); why != nil {
			in.log.Error("an exclusive unit cannot be stopped", "unit", u.Name, "reason", why.Message())
		}
	}
}

// keeperWait is how long the loop may sleep.
func (in *Init) keeperWait() time.Duration {
	at := in.keeper.At()
	if at == 0 {
		return time.Hour
	}
	return min(max(at-bootClock(), 0), keeperLook)
}
