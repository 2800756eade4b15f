package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/store"
	"argosy.dev/argosy/store/memory"
	"argosy.dev/argosy/store/storetest"
)

// TestFaultsTravel: what a store says is the same on the other side of HTTP.
func TestFaultsTravel(t *testing.T) {
	full := reason.Because(reason.StoreFull, reason.Args{"size": 1, "quota": 2})
	for _, err := range []error{
		store.ErrStale, store.ErrCondemned, fmt.Errorf("%w: m1", store.ErrForbidden), forbidden("x", "y"), store.ErrCompacted,
		fmt.Errorf("%w: k", store.ErrLeaseLost), store.Unavailable(errors.New("x")), cannot("x"), full,
		reason.Because(reason.TooLarge, reason.Args{"what": "x", "need": 2, "have": 1}), badRequest("x"),
	} {
		status, f := faultOf(err)
		got := f.err()
		for _, sentinel := range []error{store.ErrStale, store.ErrCondemned, store.ErrForbidden, store.ErrCompacted, store.ErrLeaseLost} {
			if errors.Is(got, sentinel) != errors.Is(err, sentinel) {
				t.Errorf("%v became %v", err, got)
			}
		}
		was, _ := errors.AsType[*reason.Reason](err)
		is, _ := errors.AsType[*reason.Reason](got)
		if !reflect.DeepEqual(was, is) || status < 400 {
			t.Errorf("%v became %v, with status %d", err, got, status)
		}
	}
}

// TestBadRequests are refused with a reason, and no flood of bytes is read for them.
func TestBadRequests(t *testing.T) {
	s := memory.New()
	srv, _ := serveStore(t, s)
	post := func(path, body string) (int, string) {
		req, _ := http.NewRequestWithContext(within(t), http.MethodPost, srv.URL+path, strings.NewReader(body))
		if body == "" {
			req.Method = http.MethodGet
		}
		req.Header.Set("Test-Machine", "m1")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(b)
	}
	for _, c := range []struct {
		path, body string
		status     int
		code       reason.Code
	}{
		{writePath, "{", 400, reason.BadRequest},
		{writePath, `{"changes":[{"key":"","value":""}]}`, 400, reason.BadRequest},
		{writePath, `{"changes":[{"key":"` + strings.Repeat("k", bodyBytes) + `"}]}`, 413, reason.TooLarge},
		{grantPath, `{"key":"alive/m1","ttl_ms":1}`, 400, reason.BadRequest},
		{grantPath, `{"key":"alive/m1","ttl_ms":3600000}`, 400, reason.BadRequest},
		{grantPath, `{"key":"alive/m2","ttl_ms":5000}`, 403, ""},
		{readPath, `{"prefix":"` + strings.Repeat("p", 200) + `"}`, 403, reason.NotAllowed},
		{watchPath + "?prefix=part/m1/&since=x", "", 400, reason.BadRequest},
		{watchPath + "?prefix=part/m2/&since=0", "", 403, reason.NotAllowed},
	} {
		status, body := post(c.path, c.body)
		if status != c.status || !strings.Contains(body, string(c.code)) || len(body) > 2000 {
			t.Errorf("%s %.40s: %d %.300s, want %d %s", c.path, c.body, status, body, c.status, c.code)
		}
	}
	if pic := read(t, s, ""); len(pic.Entries) > 0 {
		t.Errorf("written: %s", keys(pic.Entries))
	}
}

// TestLargestWrite: what the store takes passes the wire.
func TestLargestWrite(t *testing.T) {
	srv, _ := serveStore(t, memory.New())
	c := client(t, "m1", hostOf(srv))
	var changes []store.Change
	for i := range store.MaxChanges {
		name := fmt.Sprintf("%s%d", strings.Repeat("n", store.MaxKey/2), i)
		changes = append(changes, store.Change{Key: cluster.StatusKey("m1", name), Value: []byte(strings.Repeat("v", 7000))})
	}
	watch := c.Watch(within(t), store.PartPrefix("m1"), partNow(t, c, "m1").Revision)
	rev := write(t, c, m1, changes...)
	if b := next(t, watch); b.Err != nil || b.Revision != rev || len(b.Entries) != store.MaxChanges {
		t.Errorf("watched %d entries at revision %d, %v", len(b.Entries), b.Revision, b.Err)
	}
	if pic := partNow(t, c, "m1"); len(pic.Entries) != store.MaxChanges {
		t.Errorf("read %d entries", len(pic.Entries))
	}
	big := store.Change{Key: cluster.MachineKey("m1"), Value: []byte(strings.Repeat("v", store.MaxValue))}
	write(t, c, m1, big)
	if b := next(t, watch); len(b.Entries) != 1 || len(b.Entries[0].Value) != store.MaxValue {
		t.Errorf("watched %+v", b.Err)
	}
}

// stuck is a store whose writes hang until they are let go.
type stuck struct {
	*memory.Store
	begun chan string
	held  chan struct{}
}

func (s *stuck) Write(ctx context.Context, by store.Writer, changes ...store.Change) (int64, error) {
	s.begun <- by.ID
	select {
	case <-s.held:
	case <-ctx.Done():
		return 0, store.Unavailable(ctx.Err())
	}
	return s.Store.Write(ctx, by, changes...)
}

// TestLanes: one machine cannot take all places of a lane, writes that hang hold up neither leases nor readers, and
// when the lane is full the caller is told.
func TestLanes(t *testing.T) {
	s := &stuck{Store: memory.New(), begun: make(chan string, 2*writeSlots), held: make(chan struct{})}
	h := newHandler(s, feed(t, s), quiet)
	mux := h.mux()
	var own sync.WaitGroup
	defer own.Wait()
	defer close(s.held)
	send := func(machine, path, body string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body)).WithContext(WithMachine(within(t), machine))
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		return w
	}
	hang := func(machine string) {
		own.Go(func() {
			_ = send(machine, writePath, fmt.Sprintf(`{"changes":[{"key":"machines/%s","value":"eA=="}]}`, machine))
		})
		<-s.begun
	}
	for range writeEach {
		hang("m1")
	}
	if w := send("m1", writePath, "{}"); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), string(reason.TooMany)) {
		t.Errorf("one machine writes as much at once as it likes: %d %s", w.Code, w.Body)
	}
	for i := range writeSlots - writeEach {
		hang(fmt.Sprintf("x%d", i))
	}
	if w := send("m2", writePath, "{}"); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), string(reason.TooMany)) {
		t.Errorf("a full lane takes another: %d %s", w.Code, w.Body)
	}
	if w := send("m1", grantPath, `{"key":"alive/m1","ttl_ms":5000}`); w.Code != http.StatusOK {
		t.Errorf("a lease behind writes: %d %s", w.Code, w.Body)
	}
	if w := send("m1", readPath, `{"prefix":"part/m1/"}`); w.Code != http.StatusOK {
		t.Errorf("a read behind writes: %d %s", w.Code, w.Body)
	}
}

// cutOff is a store that no quorum answers any more.
type cutOff struct {
	*memory.Store
	cut chan struct{}
}

func (s *cutOff) Read(ctx context.Context, prefix string) (store.Picture, error) {
	select {
	case <-s.cut:
		<-ctx.Done()
		return store.Picture{}, store.Unavailable(ctx.Err())
	default:
		return s.Store.Read(ctx, prefix)
	}
}

// TestCutOffServer: a server that reaches no quorum ends its watches and answers no reader, as it cannot know what it
// misses; one that waits for an election shorter than that goes on.
func TestCutOffServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &cutOff{Store: memory.New(), cut: make(chan struct{})}
		ctx, cancel := context.WithCancel(t.Context())
		p := NewParts(quiet)
		done := make(chan struct{})
		go func() { defer close(done); p.Run(ctx, s) }()
		synctest.Wait()
		w, err := p.watch(ctx, "m1", 1)
		if err != nil {
			t.Fatal(err)
		}
		close(s.cut)
		for since := time.Now(); ; {
			<-time.After(heartbeat / 4)
			_, _, err := w.next()
			if lasted := time.Since(since); err != nil {
				if lasted < staleAfter-lookEvery || lasted > staleAfter+heartbeat {
					t.Errorf("the watch ended after %v", lasted)
				}
				break
			}
		}
		if _, err := p.Read(ctx, "m1"); err == nil {
			t.Error("a server that was cut off gives a part")
		}
		cancel()
		<-done
	})
}

// counted counts what is read.
type counted struct {
	*memory.Store
	reads atomic.Int64
}

func (s *counted) Read(ctx context.Context, prefix string) (store.Picture, error) {
	s.reads.Add(1)
	return s.Store.Read(ctx, prefix)
}

// TestLookIsShared: a thousand readers that come together ask the store a few times.
func TestLookIsShared(t *testing.T) {
	s := &counted{Store: memory.New()}
	p := feed(t, s)
	s.reads.Store(0)
	var own sync.WaitGroup
	for i := range 1000 {
		own.Go(func() {
			if _, err := p.Read(within(t), fmt.Sprintf("m%d", i)); err != nil {
				t.Error(err)
			}
		})
	}
	own.Wait()
	t.Logf("%d looks", s.reads.Load())
	if s.reads.Load() > 500 {
		t.Errorf("%d looks", s.reads.Load())
	}
}

// TestReadSeesWhatWasWritten before it, whoever wrote it.
func TestReadSeesWhatWasWritten(t *testing.T) {
	backends(t, func(t *testing.T, s storetest.Troubled) {
		srv, _ := serveStore(t, s)
		c := client(t, "m1", hostOf(srv))
		term, err := s.Lead(within(t), "m0") // Moves etcd's revision without a fact.
		if err != nil {
			t.Fatal(err)
		}
		defer term.Resign()
		began := time.Now()
		const rounds = 100
		for i := range rounds {
			rev := write(t, s, ann, store.Put(cluster.AdminKey("m1"), i))
			pic := partNow(t, c, "m1")
			if len(pic.Entries) != 1 || pic.Entries[0].Revision != rev {
				t.Fatalf("wrote revision %d, read %+v", rev, pic)
			}
		}
		t.Logf("a write and a read take %v", time.Since(began)/rounds)
	})
}
