package member

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/store/etcd"
)

const (
	careEvery = time.Hour
	freeBytes = 32 << 20 // So much free space in a member's file, and
	freeShare = 50       // so many hundredths of it, are worth a defragmentation.
)

// care asks all members how they do, and has the files defragmented that are half empty: one after the other, the
// member that leads last, and only while all of them answer.
func (k *Keeper) care(ctx context.Context) error {
	err := k.lookAfter(ctx)
	k.say(func(r *Report) { r.NoCare = text(err) })
	return err
}

func (k *Keeper) lookAfter(ctx context.Context) error {
	st, err := k.cfg.Store.Status(ctx)
	if err != nil {
		return err
	}
	k.say(func(r *Report) { r.Conditions = conditions(st) })
	if !st.Majority || st.Error != "" {
		return nil
	}
	for _, m := range st.Members {
		if m.Started && !m.Answered {
			return nil
		}
	}
	slices.SortStableFunc(st.Members, func(a, b etcd.MemberStatus) int {
		switch {
		case a.Leads == b.Leads:
			return 0
		case a.Leads:
			return 1
		}
		return -1
	})
	var errs []error
	for _, m := range st.Members {
		if !wasteful(m) {
			continue
		}
		begin := time.Now()
		size, err := k.cfg.Store.Defragment(ctx, m.EtcdID)
		if err != nil {
			errs = append(errs, fmt.Errorf("defragment the store of %s: %w", m.MachineID, err))
			break // Not the next one while this one is in trouble.
		}
		k.cfg.Log.Info("the store's file was defragmented", "machine", m.MachineID, "before", m.Size, "now", size, "took", time.Since(begin))
	}
	return errors.Join(errs...)
}

// text is an error's, or nothing.
func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func wasteful(m etcd.MemberStatus) bool {
	free := m.Size - m.InUse
	return m.Answered && free >= freeBytes && free*100 >= m.Size*freeShare
}

// conditions are what people have to know of the store.
func conditions(st etcd.Status) []cluster.Condition {
	var out []cluster.Condition
	if !st.Majority {
		out = append(out, cluster.Condition{Kind: "store-no-majority", Reason: reason.Because(reason.StoreUnavailable, reason.Args{"error": st.Error})})
	}
	for _, m := range st.Members {
		for _, a := range m.Alarms {
			c := cluster.Condition{Kind: "store-" + a, Reason: reason.Because(reason.StoreUnavailable, reason.Args{"error": "etcd raised the alarm " + a + " on " + m.MachineID})}
			if a == "NOSPACE" {
				c = cluster.Condition{Kind: "store-full", Reason: reason.Because(reason.StoreFull, reason.Args{"size": m.Size, "quota": m.Quota})}
			}
			out = append(out, c)
		}
		if st.Error == "" && m.Started && !m.Answered {
			out = append(out, cluster.Condition{Kind: "store-member-silent", Reason: reason.Because(reason.NotReachable, reason.Args{
				"address": m.PeerURL, "error": m.MachineID + " did not answer the roll of the store's members",
			})})
		}
	}
	return out
}
