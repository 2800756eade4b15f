package scenario

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"argosy.dev/argosy/client"
	"argosy.dev/argosy/hosttest/light"
	"argosy.dev/argosy/identity"
	"argosy.dev/argosy/wire"
)

// full tells whether the long scenarios are to run (make hosts-test).
func full() bool { return os.Getenv("ARGOSY_HOSTS_TEST") == "full" }

// needsFull skips a scenario that is too long for every commit.
func needsFull(t *testing.T) {
	t.Helper()
	if !full() {
		t.Skip("a long scenario: make hosts-test")
	}
}

// laptop is a host outside of the cluster, with a user's certificate.
type laptop struct {
	*light.Host
	conf *tls.Config
}

// laptop adds a host that runs nothing, and a user on it.
func (f *fleet) laptop() *laptop {
	f.Helper()
	hosts, err := f.bed.Up(1)
	f.must(err)
	context, err := client.ParseContext([]byte(f.hosts[0].Run(f, inside, "user", "add", "load", "--role", "deployer", "--out", "-")))
	f.must(err)
	k, err := context.Keeper()
	f.must(err)
	conf := k.ClientTLS(identity.KindServer, "")
	conf.NextProtos = []string{"http/1.1"} // A call that is given up takes its connection with it: the host may be dead.
	return &laptop{hosts[0], conf}
}

// The load: what clients do until they are told to stop.
const (
	loadClients  = 12
	loadKeys     = 12
	loadEvery    = 5 * time.Millisecond // 200 operations a second, of all clients together.
	loadTimeout  = 3 * time.Second      // Of one operation; after that nobody knows what became of it.
	loadDial     = 500 * time.Millisecond
	loadAvoid    = time.Second      // How long a client does not ask a server that did not answer, if another one does.
	checkTimeout = 60 * time.Second // Of the check of one history; not known in that time is a failure.
)

// kind of an operation on one unit.
type kind int

const (
	get kind = iota
	create
	update // If it still has the value that was expected.
	remove // The same.
)

// call is an operation's input, verdict its output. Values are unique numbers; 0: no such unit.
type call struct {
	kind          kind
	key           int
	expect, value int
}

type verdict struct {
	unknown bool // No answer: it may have been done, and may be done later.
	ok      bool
	value   int // What get saw.
}

func (c call) String() string {
	return fmt.Sprintf("%s(%d, %d -> %d)", [...]string{"get", "create", "update", "delete"}[c.kind], c.key, c.expect, c.value)
}

// units is the specification: each unit is a register that can be absent.
var units = porcupine.Model{
	Partition: func(all []porcupine.Operation) [][]porcupine.Operation {
		parts := make([][]porcupine.Operation, loadKeys)
		for _, o := range all {
			k := o.Input.(call).key
			parts[k] = append(parts[k], o)
		}
		return slices.DeleteFunc(parts, func(p []porcupine.Operation) bool { return len(p) == 0 })
	},
	Init: func() any { return 0 },
	Step: func(state, input, output any) (bool, any) {
		s, c, v := state.(int), input.(call), output.(verdict)
		if c.kind == get {
			return s == v.value, s
		}
		holds, next := s == c.expect, c.value
		switch {
		case v.unknown && !holds:
			return true, s
		case v.unknown || v.ok:
			return holds, next
		}
		return !holds, s
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%v: %+v", input, output) },
}

// load is a run of clients and its history.
type load struct {
	f       *fleet
	from    *laptop
	servers []string
	prefix  string // Of the units' names, so that each run has its own.
	begun   time.Time

	tick chan struct{}
	stop context.CancelFunc
	done sync.WaitGroup

	mu        sync.Mutex
	values    int // Given out so far.
	history   []porcupine.Operation
	revisions map[int]string // Value -> its revision: one for ever.
	errors    map[string]int
	acked     []time.Duration // When writes were acknowledged.
	unknown   int
	wrong     []string
}

// startLoad lets clients work on the units prefix-0 … against all servers.
func (f *fleet) startLoad(from *laptop, prefix string, seed uint64, servers ...*light.Host) *load {
	ctx, cancel := context.WithCancel(f.Context())
	l := &load{f: f, from: from, prefix: prefix, begun: time.Now(), tick: make(chan struct{}), stop: cancel, revisions: map[int]string{}, errors: map[string]int{}}
	for _, h := range servers {
		l.servers = append(l.servers, h.Address()+":7443")
	}
	l.done.Go(func() {
		t := time.NewTicker(loadEvery)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			}
			select {
			case l.tick <- struct{}{}:
			default: // All clients wait for an answer.
			}
		}
	})
	for i := range loadClients {
		c := l.client(i, rand.New(rand.NewPCG(seed, uint64(i)))) //nolint:gosec // Replayable on purpose.
		l.done.Go(func() { c.run(ctx) })
	}
	return l
}

// user is one client of the load.
type user struct {
	*load
	id     int
	dice   *rand.Rand
	http   *http.Client
	server int
	failed map[int]time.Time // When a server did not answer.
	next   int               // Key.
	known  map[int]seen      // What it last saw of each key.
}

type seen struct {
	value    int
	revision string
}

func (l *load) client(id int, dice *rand.Rand) *user {
	return &user{load: l, id: id, dice: dice, known: map[int]seen{}, failed: map[int]time.Time{}, http: &http.Client{Transport: &http.Transport{
		TLSClientConfig: l.from.conf, MaxIdleConnsPerHost: 1,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, loadDial)
			defer cancel()
			return l.from.Dial(ctx, network, address)
		},
	}}}
}

func (u *user) run(ctx context.Context) {
	defer u.http.CloseIdleConnections()
	for {
		select {
		case <-ctx.Done():
			return
		case <-u.tick:
		}
		u.server = u.dice.IntN(len(u.servers))
		for range u.servers {
			if time.Since(u.failed[u.server]) > loadAvoid {
				break
			}
			u.server = (u.server + 1) % len(u.servers)
		}
		u.operate(u.choose())
	}
}

// choose decides what to do next: a look at some unit, then a change of it, if nobody else was faster.
func (u *user) choose() call {
	c := call{key: u.next}
	seen, known := u.known[c.key]
	u.next = u.dice.IntN(loadKeys)
	switch {
	case !known:
		u.next = c.key
		return c
	case seen.value == 0:
		c.kind = create
	case u.dice.IntN(100) < 70:
		c.kind, c.expect = update, seen.value
	default:
		c.kind, c.expect = remove, seen.value
	}
	delete(u.known, c.key)
	if c.kind != remove {
		u.mu.Lock()
		u.values++
		c.value = u.values
		u.mu.Unlock()
	}
	return c
}

// operate does one operation and notes what came of it.
func (u *user) operate(c call) {
	began := time.Since(u.begun)
	v, sent, err := u.do(c)
	ended := time.Since(u.begun)
	u.mu.Lock()
	defer u.mu.Unlock()
	if err != nil {
		u.errors[short(err)]++
		u.failed[u.server] = time.Now()
		if c.kind == get || !sent {
			return
		}
		v, ended = verdict{unknown: true}, math.MaxInt64
		u.unknown++
	} else if v.ok && c.kind != get {
		u.acked = append(u.acked, ended)
	}
	u.history = append(u.history, porcupine.Operation{ClientId: u.id, Input: c, Output: v, Call: int64(began), Return: int64(ended)})
}

func short(err error) string {
	s := err.Error()
	if i := strings.LastIndex(s, ": "); i >= 0 && !strings.HasPrefix(s, "5") {
		s = s[i+2:]
	}
	return s
}

// do makes the call; an error means that nobody knows what became of it, sent that it may have reached a server.
func (u *user) do(c call) (v verdict, sent bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), loadTimeout) // It is not cut off by the end of the load.
	defer cancel()
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent = true }})
	resp, err := u.http.Do(u.request(ctx, c))
	if err != nil {
		return v, sent, err
	}
	defer func() { _ = resp.Body.Close() }() // Read.
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return v, true, err
	}
	switch status := resp.StatusCode; {
	case c.kind == get && status == http.StatusNotFound:
		u.known[c.key] = seen{}
		return verdict{ok: true}, true, nil
	case c.kind == get && status == http.StatusOK:
		s, err := u.read(resp, body)
		u.known[c.key] = s
		return verdict{ok: true, value: s.value}, true, err
	case c.kind != get && status < 300:
		u.pair(seen{c.value, resp.Header.Get("ETag")})
		return verdict{ok: true}, true, nil
	case c.kind != get && (status == http.StatusPreconditionFailed || status == http.StatusNotFound):
		return verdict{}, true, nil
	default:
		return v, true, fmt.Errorf("%d %s", status, problem(body))
	}
}

func problem(body []byte) string {
	var p wire.Problem
	if json.Unmarshal(body, &p) != nil {
		return string(body[:min(len(body), 100)])
	}
	return string(p.Code)
}

func (u *user) request(ctx context.Context, c call) *http.Request {
	url := fmt.Sprintf("https://%s/v1/units/%s-%d.service", u.servers[u.server], u.prefix, c.key)
	method, header, value := "GET", "", u.revision(c.expect)
	var body io.Reader
	switch c.kind {
	case get:
		url += "?fresh=true"
	case create:
		method, header, value = "PUT", "If-None-Match", "*"
	case update:
		method, header = "PUT", "If-Match"
	case remove:
		method, header = "DELETE", "If-Match"
	}
	if method == "PUT" {
		text := fmt.Sprintf("[Service]\nExecStart=/bin/sleep 1\nEnvironment=V=%d\n", c.value)
		b, _ := json.Marshal(wire.Change{Text: &text}) // Of strings.
		body = bytes.NewReader(b)
	}
	q, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		panic(err) // Nothing of it comes from outside.
	}
	if header != "" {
		q.Header.Set(header, value)
	}
	q.Header.Set("Content-Type", "application/json")
	return q
}

// read takes the value out of an answer.
func (u *user) read(resp *http.Response, body []byte) (seen, error) {
	var d wire.UnitDetail
	if err := json.Unmarshal(body, &d); err != nil {
		return seen{}, err
	}
	_, text, _ := strings.Cut(d.Text, "V=")
	n, err := strconv.Atoi(strings.TrimSpace(text))
	s := seen{n, resp.Header.Get("ETag")}
	u.pair(s)
	return s, err
}

// pair checks that a value always has the same revision. A delete has none.
func (u *user) pair(s seen) {
	if s.value == 0 || s.revision == "" {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if was := u.revisions[s.value]; was != "" && was != s.revision {
		u.wrong = append(u.wrong, fmt.Sprintf("value %d had revision %s, and has %s", s.value, was, s.revision))
	}
	u.revisions[s.value] = s.revision
}

// revision of a value that somebody has seen.
func (l *load) revision(value int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.revisions[value]
}

// end stops the clients, reads every unit on every server, and checks the history.
func (l *load) end() {
	l.f.Helper()
	l.stop()
	l.done.Wait()
	last := l.client(loadClients, rand.New(rand.NewPCG(0, 0))) //nolint:gosec // As above.
	defer last.http.CloseIdleConnections()
	for server := range l.servers {
		for key := range loadKeys {
			l.f.eventually(l.servers[server]+" is read", func() bool {
				last.server = server
				n := len(l.history)
				last.operate(call{key: key})
				return len(l.history) > n
			})
		}
	}
	for _, w := range l.wrong {
		l.f.Error(w)
	}
	began := time.Now()
	result := porcupine.CheckOperationsTimeout(units, l.history, checkTimeout)
	l.f.Logf("%s: %d operations, %d writes acknowledged, %d unknown, longest without one %v, errors %v; history %s (checked in %v)",
		l.prefix, len(l.history), len(l.acked), l.unknown, l.gap().Round(time.Millisecond), l.errors, result, time.Since(began).Round(time.Millisecond))
	if result != porcupine.Ok {
		l.f.Errorf("%s: the history is %s\n%s", l.prefix, result, l.explain())
	}
}

// gap is the longest time without an acknowledged write.
func (l *load) gap() (longest time.Duration) {
	slices.Sort(l.acked)
	for i := 1; i < len(l.acked); i++ {
		longest = max(longest, l.acked[i]-l.acked[i-1])
	}
	return longest
}

// explain shows the operations of a unit whose history cannot be.
func (l *load) explain() string {
	var b strings.Builder
	for _, part := range units.Partition(l.history) {
		if porcupine.CheckOperationsTimeout(units, part, checkTimeout) == porcupine.Ok {
			continue
		}
		slices.SortFunc(part, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
		fmt.Fprintf(&b, "%s-%d:\n", l.prefix, part[0].Input.(call).key)
		for _, o := range part {
			fmt.Fprintf(&b, "  client %2d  %9.3f … %9.3f  %v: %+v\n", o.ClientId, seconds(o.Call), seconds(o.Return), o.Input, o.Output)
		}
		break
	}
	return b.String()
}

func seconds(ns int64) float64 {
	if ns == math.MaxInt64 {
		return math.Inf(1)
	}
	return time.Duration(ns).Seconds()
}
