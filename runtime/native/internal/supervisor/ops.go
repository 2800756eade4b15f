package supervisor

import (
	"maps"
	"slices"
	"strings"
	"time"

	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/runtime/native/internal/proto"
	"argosy.dev/argosy/unit"
)

// maxName is systemd's bound on a unit's name.
const maxName = 255

// lastWords is how long an agent has to take its last reply.
const lastWords = time.Second

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

// finish lets every agent have its last reply.
func (in *Init) finish() {
	in.groups.Remove()
	var writers []*conn
	for k := range in.conns {
		writers = append(writers, k)
	}
	for _, k := range writers {
		_ = k.c.SetWriteDeadline(time.Now().Add(lastWords))
		k.drop()
		<-k.written
	}
	in.log.Info("every unit is stopped, the init process ends")
}
