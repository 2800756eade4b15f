package supervisor

import (
	"strings"

	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/runtime/native/internal/proto"
	"argosy.dev/argosy/runtime/native/internal/service"
)

// maxName is systemd's bound on a unit's name.
const maxName = 255

func (in *Init) load(r *proto.Request) *reason.Reason {
	if !safeName(r.Unit) || r.Def == nil {
		return reason.Because(reason.NameInvalid, reason.Args{"unit": r.Unit, "error": "not a file name"})
	}
	u := in.engine.Load(r.Unit, r.Hash, r.Def)
	in.attach(u)
	return nil
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

// stopAll stops every unit.
func (in *Init) stopAll() {
	for _, u := range in.engine.Units() {
		in.engine.Stop(u.Name)
	}
}

// quiet tells whether nothing runs any more.
func (in *Init) quiet() bool {
	for _, u := range in.engine.Units() {
		if u.Service != nil && !u.Service.State.Down() {
			return false
		}
	}
	return true
}

func (in *Init) finish() {
	in.log.Info("every unit is stopped, the init process ends")
}

func down(s *service.Service) bool { return s == nil || s.State.Down() }
