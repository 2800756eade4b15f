package identity

import (
	"encoding/json"
	"log/slog"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"argosy.dev/argosy/reason"
)

func TestToken(t *testing.T) {
	now := time.Now()
	pin := [32]byte{1, 2, 31: 9}
	addrs := []string{"127.0.0.1:7443", "[fd00::1]:7443", "m1.example.net:443"}
	tok, g, err := NewToken(pin, addrs, KindServer, time.Hour, 1, "ann", now)
	if err != nil {
		t.Fatal(err)
	}
	text := tok.String()
	if !regexp.MustCompile(`^ARG1\.[a-z2-7]{52}\.[a-z2-7]{8}\.[a-z2-7]{32}\.[a-z2-7]+$`).MatchString(text) {
		t.Errorf("the text is %s", text)
	}
	for _, s := range []string{text, strings.ToUpper(text), strings.ToLower(text)} {
		if back, err := ParseToken(s); err != nil || !reflect.DeepEqual(back, tok) {
			t.Errorf("%s: %v %v", s, back, err)
		}
	}
	parts := strings.Split(text, ".")
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("join", "token", tok)
	record := must(json.Marshal(g))(t)
	if strings.Contains(log.String(), parts[3]) || strings.Contains(string(record), parts[3]) {
		t.Error("the secret stands in the log or in the record")
	}
	if back, err := ReadGrant(record); err != nil || back.Hash != g.Hash || back.Role != KindServer {
		t.Errorf("the record reads %v, %v", back, err)
	}
	if _, err := ReadGrant([]byte("{}")); err == nil {
		t.Error("an empty record is a grant")
	}
	with := func(i int, s string) string {
		p := append([]string(nil), parts...)
		p[i] = s
		return strings.Join(p, ".")
	}
	list := func(s string) string { return with(4, strings.ToLower(digits.EncodeToString([]byte(s)))) }
	for what, bad := range map[string]string{
		"nothing": "", "a version": with(0, "ARG2"), "cut off": text[:len(text)-1], "a part less": strings.Join(parts[:4], "."), "a part more": text + ".x",
		"a space": text + " ", "a line": text + "\n", "padding": with(3, parts[3]+"="), "a digit of no base32": with(3, "1"+parts[3][1:]), "a unicode look-alike": with(3, "\u017f"+parts[3][2:]),
		"a long pin": with(1, parts[1]+"aaaaaaaa"), "a pin that is not canonical": with(1, parts[1][:51]+"b"), "an empty secret": with(3, ""), "a short id": with(2, "aaaa"),
		"no address": with(4, ""), "no port": list("m1"), "port 0": list("m1:0"), "port 70000": list("m1:70000"), "a path": list("m1:1/x"), "all addresses": list("0.0.0.0:1"),
		"a control character": list("m\x00:1"), "nine addresses": list(strings.Repeat("a:1,", 8) + "a:1"), "a comma": list("a:1,"), "too long": list(strings.Repeat("a", 3000)),
	} {
		_, err := ParseToken(bad)
		wantCode(t, what, err, reason.BadToken)
	}
	for what, f := range map[string]func() error{
		"a user's": func() error { _, _, err := NewToken(pin, addrs, KindUser, time.Hour, 1, "ann", now); return err },
		"for ever": func() error {
			_, _, err := NewToken(pin, addrs, KindMachine, 1000*time.Hour, 1, "ann", now)
			return err
		},
		"no use":    func() error { _, _, err := NewToken(pin, addrs, KindMachine, time.Hour, 0, "ann", now); return err },
		"no server": func() error { _, _, err := NewToken(pin, nil, KindMachine, time.Hour, 1, "ann", now); return err },
	} {
		if f() == nil {
			t.Errorf("%s: made", what)
		}
	}
}

// TestAdmit is A2: a token is good for its role, its time and its uses.
func TestAdmit(t *testing.T) {
	now := time.Now()
	tok, g, err := NewToken([32]byte{}, []string{"m1:1"}, KindMachine, time.Hour, 2, "ann", now)
	if err != nil {
		t.Fatal(err)
	}
	_, other, err := NewToken([32]byte{}, []string{"m1:1"}, KindMachine, time.Hour, 2, "ann", now)
	if err != nil {
		t.Fatal(err)
	}
	wrong, spent, all, odd := tok, g, g, g
	wrong.Secret = append([]byte{tok.Secret[0] ^ 1}, tok.Secret[1:]...)
	spent.Uses, all.Uses, odd.Uses = 0, UnlimitedUses, -2
	empty := Grant{ID: tok.ID, Expires: g.Expires, Uses: 1}
	for what, c := range map[string]struct {
		g    Grant
		t    Token
		at   time.Time
		left int
		code reason.Code
	}{
		"good": {g, tok, now, 1, ""}, "the last moment": {g, tok, now.Add(time.Hour - 1), 1, ""}, "unlimited": {all, tok, now, UnlimitedUses, ""},
		"expired": {g, tok, now.Add(time.Hour), 0, reason.TokenExpired}, "used": {spent, tok, now, 0, reason.TokenUsed}, "an odd count": {odd, tok, now, 0, reason.TokenUsed},
		"wrong secret": {g, wrong, now, 0, reason.TokenUnknown}, "no secret": {g, Token{ID: tok.ID}, now, 0, reason.TokenUnknown}, "another id": {g, Token{ID: other.ID, Secret: tok.Secret}, now, 0, reason.TokenUnknown}, "another grant": {other, tok, now, 0, reason.TokenUnknown},
		"no grant": {Grant{}, tok, now, 0, reason.TokenUnknown}, "nothing at all": {Grant{}, Token{}, now, 0, reason.TokenUnknown}, "a grant without hash": {empty, Token{ID: tok.ID}, now, 0, reason.TokenUnknown},
		"wrong secret, expired": {g, wrong, now.Add(2 * time.Hour), 0, reason.TokenUnknown},
	} {
		after, err := c.g.Admit(c.t, c.at)
		wantCode(t, what, err, c.code)
		if err == nil && after.Uses != c.left {
			t.Errorf("%s: %d uses left, want %d", what, after.Uses, c.left)
		}
	}
	if g.Uses != 2 {
		t.Error("the grant itself was changed")
	}
	wantCode(t, "its role", g.Permit(KindMachine), "")
	wantCode(t, "another role", g.Permit(KindServer), reason.TokenRole)
}

func FuzzToken(f *testing.F) {
	tok, _, err := NewToken([32]byte{7}, []string{"127.0.0.1:7443", "[::1]:1"}, KindMachine, time.Hour, 1, "", time.Unix(0, 0))
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{tok.String(), strings.ToUpper(tok.String()), "ARG1....", "ARG1.a.b.c.d", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		tok, err := ParseToken(s)
		if err != nil {
			wantCode(t, s, err, reason.BadToken)
			return
		}
		if back := tok.String(); !strings.EqualFold(back, s) || len(s) > MaxTokenText {
			t.Errorf("%q was read as %q", s, back)
		}
	})
}
