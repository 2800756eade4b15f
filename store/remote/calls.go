package remote

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"time"

	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/store"
)

// mine refuses what this machine may not write, as the server would.
func (s *Store) mine(by store.Writer, changes ...store.Change) error {
	if s.sign == nil && (by.Role != store.Machine || by.ID != s.o.Machine) {
		return forbidden("write as "+string(by.Role)+" "+by.ID, "machine "+s.o.Machine)
	}
	return store.Check(by, changes...)
}

// Read implements store.Store for store.PartPrefix of this machine.
func (s *Store) Read(ctx context.Context, prefix string) (store.Picture, error) {
	var pic store.Picture
	c := call{path: readPath, body: readRequest{Prefix: prefix}, try: readTry, repeat: true}
	err := s.ask(ctx, c, func(_ context.Context, r io.Reader) error {
		pic = store.Picture{}
		in := newScanner(io.LimitReader(r, maxPicture))
		for {
			l, err := in.next()
			switch {
			case err != nil:
				return err
			case l.Fault != nil:
				return l.Fault.err()
			}
			pic.Revision = l.Revision
			for _, e := range l.Entries {
				pic.Entries = append(pic.Entries, store.Entry(e))
			}
			if !l.More {
				return nil
			}
		}
	})
	if err != nil {
		return store.Picture{}, err
	}
	return pic, nil
}

// scanner reads lines.
type scanner struct{ *bufio.Scanner }

func newScanner(r io.Reader) scanner {
	const first = 64 << 10
	in := scanner{bufio.NewScanner(r)}
	in.Buffer(make([]byte, 0, first), maxLine)
	return in
}

func (in scanner) next() (line, error) {
	if !in.Scan() {
		err := in.Err()
		if err == nil {
			err = io.ErrUnexpectedEOF
		}
		return line{}, broken(err)
	}
	var l line
	if err := json.Unmarshal(in.Bytes(), &l); err != nil {
		return line{}, broken(err)
	}
	return l, nil
}

// Write implements store.Store, for this machine's own facts.
//
// It is sent again, also when an earlier try may have been done, since that is safe here: a machine is the only writer
// of its keys and sets them to what it sees now, so a write that is done twice leaves what it would have left once;
// and where a change has a guard, the first time moves the guard's revision and the second does nothing. Then only
// the answer is lost, which is told as store-unavailable instead of ErrStale. A server that gave no answer is told to
// drop the request. Should its store do it later all the same, after a newer write, the older fact stands until the
// machine says something again or reads anew: so it is with every write whose answer was lost, sent again or not.
func (s *Store) Write(ctx context.Context, by store.Writer, changes ...store.Change) (int64, error) {
	if err := s.mine(by, changes...); err != nil {
		return 0, err
	}
	req := writeRequest{Changes: make([]change, len(changes))}
	for i, c := range changes {
		req.Changes[i] = change(c)
	}
	a, err := s.small(ctx, call{path: writePath, by: by, body: req, try: writeTry, repeat: by.Role == store.Machine})
	return a.Revision, err
}

// small is a call with a small answer.
func (s *Store) small(ctx context.Context, c call) (answer, error) {
	var a answer
	err := s.ask(ctx, c, func(_ context.Context, r io.Reader) error {
		b, err := io.ReadAll(io.LimitReader(r, maxAnswer))
		if err != nil {
			return broken(err)
		}
		a = answer{}
		if err := json.Unmarshal(b, &a); err != nil {
			return broken(err)
		}
		return nil
	})
	if err != nil {
		return answer{}, err
	}
	return a, nil
}

// Grant implements store.Leaser.
func (s *Store) Grant(ctx context.Context, by store.Writer, key string, value []byte, ttl time.Duration) (int64, error) {
	if err := s.mine(by, store.Change{Key: key, Value: notNil(value)}); err != nil {
		return 0, err
	}
	// A try without an answer may leave a lease that holds nothing once the next one took the key, and ends by itself.
	a, err := s.timed(ctx, call{
		path: grantPath, by: by, try: grantTry, repeat: true,
		body: leaseRequest{Key: key, Value: notNil(value), TTL: ttl.Milliseconds()},
	})
	return a.Lease, err
}

func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// Renew implements store.Leaser. Any server renews any lease: it is the store's.
func (s *Store) Renew(ctx context.Context, by store.Writer, key string, lease int64) error {
	if err := s.mine(by, store.Delete(key)); err != nil {
		return err
	}
	_, err := s.timed(ctx, call{path: renewPath, by: by, body: leaseRequest{Key: key, Lease: lease}, try: renewTry, repeat: true})
	return err
}

// Revoke implements store.Leaser.
func (s *Store) Revoke(ctx context.Context, by store.Writer, key string, lease int64) error {
	if err := s.mine(by, store.Delete(key)); err != nil {
		return err
	}
	_, err := s.small(ctx, call{path: revokePath, by: by, body: leaseRequest{Key: key, Lease: lease}, try: renewTry, repeat: true})
	return err
}

// timed is a call that grants or renews, and tells when the try was sent that was answered.
func (s *Store) timed(ctx context.Context, c call) (answer, error) {
	var sent time.Time
	c.sending = func() { sent = store.SendTime(ctx) }
	a, err := s.small(ctx, c)
	if err == nil {
		store.Renewed(ctx, sent)
	}
	return a, err
}

// KeepAlive implements store.Store. The lease lives on when the server dies that granted it.
func (s *Store) KeepAlive(ctx context.Context, by store.Writer, key string, value []byte, ttl time.Duration) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	if err := store.Keep(ctx, s, by, key, value, ttl); err != nil {
		return err
	}
	if s.ctx.Err() != nil {
		return store.Unavailable(errClosed)
	}
	return nil
}

// Lead implements store.Store: only servers lead.
func (s *Store) Lead(context.Context, string) (*store.Term, error) {
	return nil, reason.Because(reason.NotAllowed, reason.Args{"what": "lead the cluster without being a server", "who": "machine " + s.o.Machine})
}

// Health implements store.Store: nil when a server says that the store takes writes.
func (s *Store) Health(ctx context.Context) error {
	_, err := s.small(ctx, call{path: healthPath, try: healthTry, repeat: true})
	return err
}

var (
	_ store.Store  = (*Store)(nil)
	_ store.Leaser = (*Store)(nil)
)
