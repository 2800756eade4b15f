package node

import (
	"context"

	"argosy.dev/argosy/client"
	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/identity"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/runtime"
)

// journals gives a unit's lines from the machine that it is placed on.
type journals struct{ *life }

func (l *life) journals() journals { return journals{l} }

// Journal is runtime.Runtime's, over all machines.
func (j journals) Journal(ctx context.Context, name string, q runtime.JournalQuery) (<-chan cluster.Line, error) {
	m := j.machineOf(name)
	if m == nil || m.ID == j.id {
		return j.units.Journal(ctx, name, q)
	}
	if m.Address == "" {
		return nil, reason.Because(reason.NotReachable, reason.Args{"address": m.Name, "error": "it listens on no network"})
	}
	c := client.NewTLS(m.Address, j.keeper.ClientTLS(identity.KindMachine, m.ID))
	out := make(chan cluster.Line)
	begun := make(chan error, 1)
	go func() {
		defer close(out)
		defer c.Close()
		first := true
		err := c.Journal(ctx, name, q, func(line cluster.Line) error {
			if first {
				first = false
				begun <- nil
			}
			select {
			case out <- line:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		if first {
			begun <- err
		}
	}()
	if q.Follow { // Its first line may be long in coming.
		return out, nil
	}
	select {
	case err := <-begun:
		if err != nil {
			return nil, err
		}
		return out, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// machineOf is the machine that a unit is placed on, or was last heard of; nil: none.
func (j journals) machineOf(name string) *cluster.Machine {
	var found *cluster.Machine
	j.view.Peek(func(p *cluster.Picture) {
		if on := p.PlacedOn(name); len(on) > 0 {
			found = p.Machines[on[0]]
			return
		}
		for on := range p.Statuses {
			if on.Unit == name {
				found = p.Machines[on.Machine]
				return
			}
		}
	})
	return found
}
