package account

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestLookup(t *testing.T) {
	dir := t.TempDir()
	db := DB{PasswdFile: filepath.Join(dir, "passwd"), GroupFile: filepath.Join(dir, "group")}
	for p, text := range map[string]string{
		db.PasswdFile: "root:x:0:0:root:/root:/bin/bash\nbroken:x:no:1::/:\nanna:x:1000:1001:A:/home/anna:/bin/zsh\n",
		db.GroupFile:  "root:x:0:\nstaff:x:50:anna,bob\nanna:x:1001:\nanna2:x:52:annabel\n",
	} {
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want := User{Name: "anna", UID: 1000, GID: 1001, Home: "/home/anna", Shell: "/bin/zsh"}
	for _, s := range []string{"anna", "1000"} {
		if u, err := db.User(s); err != nil || u != want {
			t.Errorf("%s: %+v, %v", s, u, err)
		}
	}
	if u, err := db.User("4242"); err != nil || u.UID != 4242 || u.GID != 4242 {
		t.Errorf("a number without an entry: %+v, %v", u, err)
	}
	for _, s := range []string{"nobody-here", "broken", "-1", ""} {
		if _, err := db.User(s); !errors.Is(err, ErrUnknown) {
			t.Errorf("user %q: %v", s, err)
		}
	}
	if g, err := db.Group("staff"); err != nil || g != 50 {
		t.Errorf("group: %d, %v", g, err)
	}
	if _, err := db.Group("none"); !errors.Is(err, ErrUnknown) {
		t.Errorf("group: %v", err)
	}
	if m := db.Member("anna"); !slices.Equal(m, []int{50}) {
		t.Errorf("member of %v", m)
	}
	if _, err := (DB{PasswdFile: dir + "/none"}).User("x"); !errors.Is(err, ErrUnknown) {
		t.Errorf("no file: %v", err)
	}
}
