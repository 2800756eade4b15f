package agent

import (
	"context"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/fence"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/runtime"
)

// admitAgain is how soon an exclusive unit that has no leave to run is looked at again.
const admitAgain = time.Second

// exclusive tells whether it may run on one machine at a time only.
func (s *slot) exclusive() bool { return s.unit != nil && s.unit.Argosy.Exclusive }

// fencer is the runtime's keeper of exclusive units; nil: it has none.
func (a *Agent) fencer() runtime.Fencer {
	f, _ := a.Runtime.(runtime.Fencer)
	return f
}

// keeper asks once in a pass what the keeper holds.
func (a *Agent) keeper(ctx context.Context) (*fence.Keeper, error) {
	if a.held != nil {
		return a.held, nil
	}
	k, err := a.fencer().Held(ctx)
	if err != nil {
		return nil, err
	}
	a.held, a.lease = &k, k.Epoch
	return a.held, nil
}

// admit sees to it that an exclusive unit has the keeper's leave to run. The order is what makes it safe: first the claim
// is in the store, then the placement is looked at once more. A leader that has withdrawn it has either made this look
// fail or will find the claim.
func (a *Agent) admit(ctx context.Context, s *slot, now time.Time) (ok bool, err error) {
	f := a.fencer()
	if f == nil {
		s.refused = noKeeper(a.Runtime.Name())
		return false, nil
	}
	s.admitAt = time.Time{}
	k, err := a.keeper(ctx)
	if err != nil {
		return false, a.refuse(s, "ask the keeper of", err)
	}
	live := k.Live(a.BootClock())
	if placement, allowed := k.Allowed[s.name]; allowed && placement == s.epoch && live {
		if s.refused != nil && s.refused.Code == reason.NoLease && s.runs() {
			s.refused = nil
		}
		return true, nil
	}
	if !s.runs() || k.Cut[s.name] {
		s.refused = reason.Because(reason.NoLease, reason.Args{"unit": s.name})
	}
	s.admitAt = now.Add(admitAgain)
	if k.Epoch == 0 || !live {
		return false, nil
	}
	if !s.stored || s.unsure || s.status.Epoch != s.epoch || s.status.Lease != k.Epoch {
		s.dirty, s.admitAt = true, now // The claim is written at the end of this pass.
		return false, nil
	}
	if there, err := a.stillPlaced(ctx, s); err != nil || !there {
		return false, err
	}
	if err := f.Allow(ctx, s.name, s.epoch, k.Epoch); err != nil {
		a.Log.Info("an exclusive unit gets no leave to run yet", "unit", s.name, "error", err)
		return false, nil
	}
	a.held, s.admitAt = nil, time.Time{}
	return true, nil
}

// stillPlaced looks at the store itself, which the view may lag behind.
func (a *Agent) stillPlaced(ctx context.Context, s *slot) (bool, error) {
	if !fence.Looks() {
		return true, nil
	}
	pic, err := a.Store.Read(ctx, a.Part)
	if err != nil {
		return false, err
	}
	for _, e := range pic.Entries {
		if e.Key != cluster.PlacementKey(a.Machine, s.name) {
			continue
		}
		one := cluster.NewPicture()
		if _, err := one.Apply(e.Key, e.Value, e.Revision); err != nil {
			return false, err
		}
		return one.Placements[cluster.On{Machine: a.Machine, Unit: s.name}].Epoch == s.epoch, nil
	}
	return false, nil
}

// noKeeper refuses an exclusive unit on a machine that could not stop it in time.
func noKeeper(name string) *reason.Reason {
	return reason.Because(reason.Unsupported, reason.Args{"what": "Exclusive=yes is not honoured by the " + name + " runtime of this version, which has no keeper that would stop it in time"})
}
