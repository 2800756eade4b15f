package kv

import (
	"bytes"
	"context"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"argosy.dev/argosy/store"
)

// raw is a client that sends what it is told to, without clientv3's own care.
type raw struct {
	pb.KVClient
	pb.LeaseClient
	pb.WatchClient
	pb.MaintenanceClient
	pb.ClusterClient
}

func rawClient(t testing.TB, address string) raw {
	c := client(t, address).ActiveConnection()
	return raw{pb.NewKVClient(c), pb.NewLeaseClient(c), pb.NewWatchClient(c), pb.NewMaintenanceClient(c), pb.NewClusterClient(c)}
}

// everything is the content of the store outside the users' prefix.
func (m *member) everything(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	resp, err := m.server.etcd.Range(t.Context(), &pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}})
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range resp.Kvs {
		if !bytes.HasPrefix(kv.Key, []byte(prefix)) {
			b.WriteString(kv.String())
		}
	}
	return b.Bytes()
}

// reach are ranges that want more than the users' keys.
func reach() [][2][]byte {
	b := func(s string) []byte { return []byte(s) }
	return [][2][]byte{
		{b("\x00"), b("\x00")},
		{b("\x00"), b("\xff")},
		{b("\x00"), b("\xff\xff\xff\xff")},
		{b("a"), b("\x00")},
		{b("/argosy/"), b("/argosy0")},
		{b("/argosy/facts/units/web.service"), nil},
		{b("../facts/units/web.service"), nil},
		{b("../facts/"), b("\x00")},
		{b("/"), b("0")},
		{b("\xff"), b("\x00")},
		{b("\xff\xff"), b("\x00")},
		{b("z"), b("a")},
		{b("\x00"), b("\x00\x00")},
		{b("/argosy/facts/"), b("/argosy/facts0")},
		{b(strings.Repeat("\xff", 300)), b("\x00")},
		{b(prefix), b(prefixEnd)},
		{b("0"), b("\x00")},
	}
}

func TestHostileRangesStayInside(t *testing.T) {
	m := newMember(t)
	m.seed(t)
	before := m.everything(t)
	if !bytes.Contains(before, []byte("secret")) {
		t.Fatal("the seed is not there")
	}
	c := rawClient(t, door(t, ForwardOptions{Local: m.server}))
	ctx := t.Context()
	if _, err := c.Put(ctx, &pb.PutRequest{Key: []byte("mine"), Value: []byte("v")}); err != nil {
		t.Fatal(err)
	}
	for _, r := range reach() {
		got, err := c.Range(ctx, &pb.RangeRequest{Key: r[0], RangeEnd: r[1]})
		if err != nil {
			t.Errorf("range %q %q: %v", r[0], r[1], err)
		}
		for _, kv := range got.GetKvs() {
			if string(kv.Key) != "mine" {
				t.Errorf("range %q %q shows %q", r[0], r[1], kv.Key)
			}
		}
		nested := &pb.TxnRequest{Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestTxn{RequestTxn: &pb.TxnRequest{
			Compare: []*pb.Compare{{Key: r[0], RangeEnd: r[1], Target: pb.Compare_VALUE, Result: pb.Compare_NOT_EQUAL, TargetUnion: &pb.Compare_Value{Value: []byte("x")}}},
			Success: []*pb.RequestOp{
				{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: r[0], RangeEnd: r[1]}}},
				{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: &pb.DeleteRangeRequest{Key: r[0], RangeEnd: r[1], PrevKv: true}}},
			},
			Failure: []*pb.RequestOp{{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: &pb.DeleteRangeRequest{Key: r[0], RangeEnd: r[1]}}}},
		}}}}}
		txn, err := c.Txn(ctx, nested)
		if err != nil {
			t.Errorf("txn %q %q: %v", r[0], r[1], err)
		}
		if text := txn.String(); strings.Contains(text, "secret") || strings.Contains(text, "/argosy/facts/units") && !bytes.Contains(r[0], []byte("units")) {
			t.Errorf("txn %q %q shows %s", r[0], r[1], text)
		}
		if _, err := c.DeleteRange(ctx, &pb.DeleteRangeRequest{Key: r[0], RangeEnd: r[1], PrevKv: true}); err != nil {
			t.Errorf("delete %q %q: %v", r[0], r[1], err)
		}
		if _, err := c.Put(ctx, &pb.PutRequest{Key: []byte("mine"), Value: []byte("v"), PrevKv: true}); err != nil {
			t.Fatal(err)
		}
		if after := m.everything(t); !bytes.Equal(before, after) {
			t.Fatalf("%q %q changed Argosy's own keys:\n%s\n%s", r[0], r[1], before, after)
		}
	}
}

// TestComparesStayInside: a condition must not tell anything about Argosy's keys either.
func TestComparesStayInside(t *testing.T) {
	m := newMember(t)
	m.seed(t)
	c := client(t, door(t, ForwardOptions{Local: m.server}))
	if _, err := c.Put(t.Context(), "mine", "v"); err != nil {
		t.Fatal(err)
	}
	holds := func(cmp clientv3.Cmp) bool {
		resp, err := c.Txn(t.Context()).If(cmp).Commit()
		if err != nil {
			t.Fatal(err)
		}
		return resp.Succeeded
	}
	if !holds(clientv3.Compare(clientv3.Value("mine"), "=", "v")) {
		t.Error("a condition on the user's own key does not hold")
	}
	all := clientv3.Compare(clientv3.Value("\x00").WithRange("\x00"), "=", "v")
	if !holds(all) {
		t.Error("a condition on all keys sees others than the user's")
	}
	for _, key := range []string{"/argosy/facts/units/web.service", "../facts/units/web.service", "/argosy/config/mine"} {
		if holds(clientv3.Compare(clientv3.Version(key), ">", 0)) {
			t.Errorf("a condition sees %s", key)
		}
	}
}

// FuzzInside holds for every key and end: what comes out is a range of users' keys alone.
func FuzzInside(f *testing.F) {
	for _, r := range reach() {
		f.Add(r[0], r[1])
	}
	f.Fuzz(func(t *testing.T, key, end []byte) {
		in, inEnd := inside(key, end)
		if !bytes.HasPrefix(in, []byte(prefix)) || !bytes.Equal(bare(in), key) {
			t.Fatalf("%q became %q", key, in)
		}
		if inEnd == nil || bytes.Compare(inEnd, in) <= 0 {
			return // One key, or none.
		}
		if bytes.Equal(inEnd, []byte{0}) || bytes.Compare(inEnd, []byte(prefixEnd)) > 0 {
			t.Fatalf("%q %q reaches to %q", key, end, inEnd)
		}
	})
}

func TestHostileWatchSeesNothingElse(t *testing.T) {
	m := newMember(t)
	m.seed(t)
	c := rawClient(t, door(t, ForwardOptions{Local: m.server}))
	stream, err := c.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ranges := append(reach(), [2][]byte{nil, {0}}, [2][]byte{nil, nil}) // From the smallest key on; and that one alone.
	for _, r := range ranges {
		if err := stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{
			Key: r[0], RangeEnd: r[1], StartRevision: 1, PrevKv: true,
		}}}); err != nil {
			t.Fatal(err)
		}
	}
	m.seed(t)
	if _, err := c.Put(t.Context(), &pb.PutRequest{Key: []byte("zz"), Value: []byte("last")}); err != nil {
		t.Fatal(err)
	}
	want := 0
	for _, r := range ranges {
		if holds(r, "zz") {
			want++
		}
	}
	created, seen := 0, 0
	for created < len(ranges) || seen < want {
		resp, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if resp.Created {
			created++
		}
		for _, e := range resp.Events {
			seen++
			if string(e.Kv.Key) != "zz" {
				t.Fatalf("watch %d (%q) shows %s", resp.WatchId, ranges[resp.WatchId], e)
			}
		}
	}
	t.Logf("%d watches, %d events", created, seen)
}

// holds tells whether a range holds a key, as etcd's API says.
func holds(r [2][]byte, key string) bool {
	from, end := string(r[0]), string(r[1])
	switch end {
	case "":
		return key == from
	case "\x00":
		return key >= from
	}
	return key >= from && key < end
}

func TestLeasesOfOthersAreOutOfReach(t *testing.T) {
	m := newMember(t)
	by := store.Writer{Role: store.Machine, ID: strings.Repeat("a", 32)}
	own, err := m.store.Grant(t.Context(), by, "alive/"+by.ID, []byte("{}"), 30*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if ofUsers(own) {
		t.Fatalf("lease %x of Argosy's own counts as the users'", own)
	}
	c := rawClient(t, door(t, ForwardOptions{Local: m.server}))
	ctx := t.Context()
	if _, err := c.LeaseRevoke(ctx, &pb.LeaseRevokeRequest{ID: own}); status.Code(err) != codes.NotFound {
		t.Errorf("revoke: %v", err)
	}
	if ttl, err := c.LeaseTimeToLive(ctx, &pb.LeaseTimeToLiveRequest{ID: own, Keys: true}); err != nil || ttl.TTL != -1 || len(ttl.Keys) != 0 || ttl.ID != own {
		t.Errorf("time to live: %v %v", ttl, err)
	}
	if _, err := c.Put(ctx, &pb.PutRequest{Key: []byte("k"), Lease: own}); status.Code(err) != codes.NotFound {
		t.Errorf("put with a lease of Argosy's own: %v", err)
	}
	bound := &pb.TxnRequest{Failure: []*pb.RequestOp{{Request: &pb.RequestOp_RequestTxn{RequestTxn: &pb.TxnRequest{
		Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: []byte("k"), Lease: own}}}},
	}}}}}
	if _, err := c.Txn(ctx, bound); status.Code(err) != codes.NotFound {
		t.Errorf("nested put with a lease of Argosy's own: %v", err)
	}
	for _, id := range []int64{own, math.MaxInt64, -5, maxLease, ownLease} {
		if _, err := c.LeaseGrant(ctx, &pb.LeaseGrantRequest{ID: id, TTL: 60}); status.Code(err) != codes.InvalidArgument {
			t.Errorf("grant %x: %v", id, err)
		}
	}
	alive, err := c.LeaseKeepAlive(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []int64{own, -1, 0, math.MinInt64} {
		if err := alive.Send(&pb.LeaseKeepAliveRequest{ID: id}); err != nil {
			t.Fatal(err)
		}
		if resp, err := alive.Recv(); err != nil || resp.TTL != 0 {
			t.Errorf("keep %x alive: %v %v", id, resp, err)
		}
	}
	chosen, err := c.LeaseGrant(ctx, &pb.LeaseGrantRequest{ID: 77, TTL: 60})
	if err != nil || chosen.ID != 77 {
		t.Fatalf("grant 77: %v %v", chosen, err)
	}
	given, err := c.LeaseGrant(ctx, &pb.LeaseGrantRequest{TTL: 60})
	if err != nil || !ofUsers(given.ID) {
		t.Fatalf("grant: %v %v", given, err)
	}
	list, err := c.LeaseLeases(ctx, &pb.LeaseLeasesRequest{})
	if err != nil || len(list.Leases) != 2 {
		t.Errorf("leases: %v %v, want the users' two", list, err)
	}
	if err := m.store.Renew(ctx, by, "alive/"+by.ID, own); err != nil {
		t.Errorf("Argosy's own lease: %v", err)
	}
}

func TestWhatIsNotForUsers(t *testing.T) {
	m := newMember(t)
	c := client(t, door(t, ForwardOptions{Local: m.server}))
	ctx := t.Context()
	calls := map[string]error{}
	_, calls["compact"] = c.Compact(ctx, 1)
	_, calls["member add"] = c.MemberAdd(ctx, []string{"http://10.0.0.9:1"})
	_, calls["member remove"] = c.MemberRemove(ctx, 1)
	_, calls["move leader"] = c.MoveLeader(ctx, 1)
	_, calls["defragment"] = c.Defragment(ctx, c.Endpoints()[0])
	_, calls["disarm"] = c.AlarmDisarm(ctx, &clientv3.AlarmMember{MemberID: 1, Alarm: pb.AlarmType_NOSPACE})
	_, calls["hash"] = c.HashKV(ctx, c.Endpoints()[0], 0)
	_, calls["auth"] = c.AuthEnable(ctx)
	snap, err := c.Snapshot(ctx)
	if err == nil {
		_, err = snap.Read(make([]byte, 1))
		_ = snap.Close()
	}
	calls["snapshot"] = err
	for what, err := range calls {
		if err == nil || !strings.Contains(err.Error(), "argosy: a user of the configuration may not") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if got, err := c.AlarmList(ctx); err != nil || len(got.Alarms) != 0 {
		t.Errorf("alarms: %v %v", got, err)
	}
}

func TestWritersAreAsked(t *testing.T) {
	m := newMember(t)
	m.forbid(context.DeadlineExceeded) // Any error will do.
	c := client(t, door(t, ForwardOptions{Local: m.server}))
	ctx := t.Context()
	calls := map[string]error{}
	_, calls["put"] = c.Put(ctx, "a", "b")
	_, calls["delete"] = c.Delete(ctx, "a")
	_, calls["txn"] = c.Txn(ctx).Then(clientv3.OpTxn(nil, nil, []clientv3.Op{clientv3.OpDelete("a")})).Commit()
	_, calls["grant"] = c.Grant(ctx, 10)
	_, calls["revoke"] = c.Revoke(ctx, 10)
	_, calls["keep alive"] = c.KeepAliveOnce(ctx, 10)
	for what, err := range calls {
		if status.Code(err) != codes.PermissionDenied {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := c.Get(ctx, "a"); err != nil {
		t.Errorf("get: %v", err)
	}
	if _, err := c.Txn(ctx).If(clientv3.Compare(clientv3.Version("a"), "=", 0)).Then(clientv3.OpGet("a")).Commit(); err != nil {
		t.Errorf("a transaction that only reads: %v", err)
	}
}

func TestNobodyIsNobody(t *testing.T) {
	m := newMember(t)
	s := m.overNetwork(t, Caller{})
	s.Config.Handler = m.server.Handler()
	conf, _ := s.Client().Transport.(*http.Transport)
	at := door(t, ForwardOptions{TLS: conf.TLSClientConfig, Servers: func() []string { return []string{s.Listener.Addr().String()} }})
	_, err := client(t, at).Get(t.Context(), "a")
	if status.Code(err) != codes.PermissionDenied {
		t.Errorf("a call of nobody: %v", err)
	}
}
