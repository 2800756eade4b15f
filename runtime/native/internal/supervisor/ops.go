package supervisor

import (
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/runtime/native/internal/proto"
	"argosy.dev/argosy/unit"
)

// maxName is systemd's bound on a unit's name.
const maxName = 255

// lastWordsTime is how long an agent has to take its last reply.
const lastWordsTime = time.Second

func (in *Init) load(r *proto.Request) *reason.Reason {
	if !safeName(r.Unit) || r.Def == nil {
		return reason.Because(reason.NameInvalid, reason.Args{"unit": r.Unit, "error": "not a file name"})
	}
	u := in.engine.Load(r.Unit, r.Hash, r.Def)
	in.attach(u)
	return nil
}

// notEnforced warns of each promised limit that this machine does not enforce.
func (in *Init) notEnforced(r *proto.Request) []unit.Warning {
	if r.Def == nil || r.Def.Service == nil {
		return nil
	}
	var out []unit.Warning
	not := in.groups.NotEnforced(&r.Def.Service.Resources)
	for _, limit := range slices.Sorted(maps.Keys(not)) {
		why := reason.Because(reason.LimitNotEnforced, reason.Args{"limit": limit, "error": not[limit]})
		out = append(out, unit.Warning{Section: "Service", Directive: limit, Message: why.Message()})
	}
	return out
}

// notLoaded warns of each unit that the unit cannot be without, but that is not ours to start. Targets are silent: they
// stand for a state of the machine that has come long before Argosy.
func (in *Init) notLoaded(r *proto.Request) []unit.Warning {
	if r.Def == nil {
		return nil
	}
	var out []unit.Warning
	for _, d := range []struct {
		directive string
		names     []string
	}{{"Requires", r.Def.Requires}, {"Requisite", r.Def.Requisite}, {"BindsTo", r.Def.BindsTo}} {
		for _, n := range d.names {
			if in.engine.Get(n) == nil && !strings.HasSuffix(n, ".target") {
				out = append(out, unit.Warning{Section: "Unit", Directive: d.directive, Message: n + " is not a unit that Argosy has on this machine now: taken as there"})
			}
		}
	}
	return out
}

// safeName is the last check before a name becomes part of a path; package unit has checked it before.
func safeName(n string) bool {
	return n != "" && len(n) <= maxName && !strings.ContainsAny(n, "/\x00\n") && !strings.HasPrefix(n, ".")
}

func (in *Init) unload(name string) *reason.Reason {
	u := in.engine.Get(name)
	if u == nil {
		return nil
	}
	if why := in.engine.Unload(name); why != nil {
		return why
	}
	in.attach(u).forget()
	in.pruneJournals()
	delete(in.dirty, name)
	in.gen++
	in.kick()
	return nil
}

func (in *Init) kill(name string, sig int) *reason.Reason {
	u := in.engine.Get(name)
	if u == nil {
		return reason.Because(reason.NoSuchUnit, reason.Args{"unit": name})
	}
	if u.Service == nil {
		return reason.Because(reason.BadRequest, reason.Args{"error": name + " has no processes"})
	}
	n := in.SignalRest(u.Service, sig)
	if n == 0 {
		return reason.Because(reason.BadRequest, reason.Args{"error": name + " has no process to kill"})
	}
	return nil
}

// flushDirty keeps and tells what changed.
func (in *Init) flushDirty() {
	if len(in.dirty) == 0 {
		return
	}
	for name := range in.dirty {
		in.gen++
		if u := in.engine.Get(name); u != nil {
			u.Gen = in.gen
			in.keep(u)
		}
	}
	clear(in.dirty)
	in.kick()
}

// lastWords lets every agent have its last reply.
func (in *Init) lastWords() {
	var writers []*conn
	for k := range in.conns {
		writers = append(writers, k)
	}
	for _, k := range writers {
		_ = k.c.SetWriteDeadline(time.Now().Add(lastWordsTime))
		k.drop()
		<-k.written
	}
}

// replace takes the request to hand over to another program, when there is one.
func (in *Init) replace(argv []string) *reason.Reason {
	if len(argv) == 0 || !filepath.IsAbs(argv[0]) || unix.Access(argv[0], unix.X_OK) != nil {
		return reason.Because(reason.BadRequest, reason.Args{"error": "nothing that can be executed is to replace the init process"})
	}
	in.replaceBy = argv
	return nil
}

// become puts another program into our place: same process, so its children stay ours, and their exit statuses known.
// Lock and socket go over to it, so that nobody meets a closed door meanwhile.
func (in *Init) become(lock *os.File, l *net.UnixListener) error {
	socket, err := l.File()
	if err != nil {
		return err
	}
	argv := append(slices.Clone(in.replaceBy), in.args...)
	argv = append(argv, replacedFlag)
	for _, f := range []struct {
		flag string
		fd   uintptr
	}{{"-lock-fd", lock.Fd()}, {"-listen-fd", socket.Fd()}} {
		if _, err := unix.FcntlInt(f.fd, unix.F_SETFD, 0); err != nil {
			return err
		}
		argv = append(argv, f.flag, strconv.Itoa(int(f.fd)))
	}
	in.log.Info("another program takes over", "argv", argv)
	err = unix.Exec(argv[0], argv, os.Environ())
	return fmt.Errorf("become %s: %w", argv[0], err)
}

// maxOldJournals is how many journals of units that are no longer loaded are kept; the oldest go first.
const maxOldJournals = 256

// pruneJournals removes journals that nobody will ask for.
func (in *Init) pruneJournals() {
	dir := filepath.Join(in.dir, "journal")
	names, err := os.ReadDir(dir)
	if err != nil || len(names) <= maxOldJournals {
		return
	}
	age := map[string]time.Time{}
	var old []string
	for _, n := range names {
		if info, err := n.Info(); err == nil && in.engine.Get(n.Name()) == nil {
			old = append(old, n.Name())
			age[n.Name()] = info.ModTime()
		}
	}
	slices.SortFunc(old, func(a, b string) int { return age[a].Compare(age[b]) })
	for _, n := range old[:max(0, len(old)-maxOldJournals)] {
		if err := os.RemoveAll(filepath.Join(dir, n)); err != nil {
			in.log.Warn("an old journal stays", "unit", n, "error", err)
		}
	}
}
