// Package account looks up users and groups in /etc/passwd and /etc/group (passwd(5), group(5)) without cgo.
// It knows no other source: LDAP and the like have to be given as numbers.
package account

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// ErrUnknown means that there is no such user or group.
var ErrUnknown = errors.New("unknown")

// DB is where to look.
type DB struct{ PasswdFile, GroupFile string }

// System is this machine's own.
func System() DB { return DB{PasswdFile: "/etc/passwd", GroupFile: "/etc/group"} }

// User is one user.
type User struct {
	Name        string
	UID, GID    int
	Home, Shell string
}

// User finds a user by name or number. A number without an entry is taken as it is, with its own group.
func (d DB) User(s string) (User, error) {
	want, numErr := strconv.Atoi(s)
	found, err := scan(d.PasswdFile, func(f []string) (User, bool) {
		if len(f) < 7 || f[0] != s && (numErr != nil || f[2] != s) {
			return User{}, false
		}
		uid, e1 := strconv.Atoi(f[2])
		gid, e2 := strconv.Atoi(f[3])
		return User{Name: f[0], UID: uid, GID: gid, Home: f[5], Shell: f[6]}, e1 == nil && e2 == nil
	})
	if errors.Is(err, ErrUnknown) && numErr == nil && want >= 0 {
		return User{Name: s, UID: want, GID: want, Home: "/", Shell: "/bin/sh"}, nil
	}
	return found, wrap("user", s, err)
}

// Group finds a group's number by name or number.
func (d DB) Group(s string) (int, error) {
	if n, err := strconv.Atoi(s); err == nil && n >= 0 {
		return n, nil
	}
	gid, err := scan(d.GroupFile, func(f []string) (int, bool) {
		if len(f) < 3 || f[0] != s {
			return 0, false
		}
		n, err := strconv.Atoi(f[2])
		return n, err == nil
	})
	return gid, wrap("group", s, err)
}

// Member lists the groups that name the user as a member.
func (d DB) Member(user string) []int {
	var out []int
	_, _ = scan(d.GroupFile, func(f []string) (int, bool) { // Nothing found is no groups.
		if len(f) >= 4 && slices.Contains(strings.Split(f[3], ","), user) {
			if n, err := strconv.Atoi(f[2]); err == nil {
				out = append(out, n)
			}
		}
		return 0, false
	})
	return out
}

func wrap(kind, name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s: %w", kind, name, err)
}

func scan[T any](path string, match func([]string) (T, bool)) (T, error) {
	var zero T
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return zero, ErrUnknown
	}
	if err != nil {
		return zero, err
	}
	defer func() { _ = f.Close() }()
	sc := bufio.NewScanner(f)
	for sc.Scan() {
		if v, ok := match(strings.Split(sc.Text(), ":")); ok {
			return v, nil
		}
	}
	if err := sc.Err(); err != nil {
		return zero, err
	}
	return zero, ErrUnknown
}
