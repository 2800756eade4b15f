package store

import (
	"fmt"
	"strings"

	"argosy.dev/argosy/reason"
)

// The limits of one write. Every implementation refuses what is above them with reason too-large, so that
// what works on the memory store works on etcd.
const (
	MaxChanges = 1000    // Changes in one transaction.
	MaxKey     = 1 << 10 // Bytes of a key: prefix, machine id, unit name.
	MaxValue   = 1 << 20 // Bytes of one value.
	MaxWrite   = 8 << 20 // Bytes of all keys and values of a transaction.
)

// Check refuses a write that no store may take: above the limits, a key that is none, a key twice, or facts
// that are not the writer's (ErrForbidden). Every implementation calls it first in Write and KeepAlive.
func Check(by Writer, changes ...Change) error {
	if len(changes) > MaxChanges {
		return tooLarge("changes in one write", len(changes), MaxChanges)
	}
	seen, total := make(map[string]struct{}, len(changes)), 0
	for _, c := range changes {
		if err := checkOne(c); err != nil {
			return err
		}
		if _, twice := seen[c.Key]; twice {
			return reason.Because(reason.BadRequest, reason.Args{"error": fmt.Sprintf("the key %q is twice in one write", c.Key)})
		}
		seen[c.Key] = struct{}{}
		total += len(c.Key) + len(c.Value)
	}
	if total > MaxWrite {
		return tooLarge("bytes in one write", total, MaxWrite)
	}
	return by.May(changes...)
}

func checkOne(c Change) error {
	switch {
	case c.Key == "" || strings.ContainsFunc(c.Key, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return reason.Because(reason.BadRequest, reason.Args{"error": fmt.Sprintf("%q is not a key of the store", c.Key)})
	case len(c.Key) > MaxKey:
		return tooLarge("bytes of the key "+c.Key[:40]+"…", len(c.Key), MaxKey)
	case len(c.Value) > MaxValue:
		return tooLarge("bytes of "+c.Key, len(c.Value), MaxValue)
	}
	return nil
}

func tooLarge(what string, need, have int) error {
	return reason.Because(reason.TooLarge, reason.Args{"what": what, "need": need, "have": have})
}
