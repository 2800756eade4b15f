package light

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// cgroupPrefix begins the name of every bed's cgroups: the one thing of a bed that has a name on the machine.
const cgroupPrefix = "argosy-light-"

const cgroupRoot = "/sys/fs/cgroup"

// hierarchy is one mounted tree of cgroups, with this process's own place in it.
type hierarchy struct {
	name    string // Folder below /sys/fs/cgroup; empty where that is cgroup v2 itself.
	options string // Of its mount; empty for cgroup v2.
	own     string // Where what this process makes has to be.
}

func (h hierarchy) v2() bool { return h.options == "" }

// hierarchies lists the trees of this machine (cgroups(7), /proc/PID/cgroup).
func hierarchies() ([]hierarchy, error) {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	var list []hierarchy
	for line := range strings.Lines(string(text)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		h := hierarchy{name: strings.TrimPrefix(f[1], "name="), options: f[1]}
		path := f[2]
		if h.name != f[1] {
			h.options = "none," + f[1]
		}
		if h.v2() {
			if exists(filepath.Join(cgroupRoot, "unified")) {
				h.name = "unified" // Hybrid: v2 beside the v1 trees.
			} else {
				path = "/" // Only the root may hold processes and hand on controllers.
			}
		}
		h.own = filepath.Join(cgroupRoot, h.name, path)
		if !exists(h.own) { // In a container the path may be the outer one.
			h.own = filepath.Join(cgroupRoot, h.name)
		}
		list = append(list, h)
	}
	return list, nil
}

// cgroups are a bed's: a folder in each tree, and in it one for each host.
type cgroups struct {
	dirs []string // Of the bed.
	v2   string   // The one that freezes and kills.
	lock *os.File // Of v2: an unlocked one is a dead bed's.
}

// lockTries bounds how often a sweep of another bed may take a new folder for a dead one.
const lockTries = 5

func newCgroups(name string) (*cgroups, error) {
	list, err := hierarchies()
	if err != nil {
		return nil, err
	}
	c := &cgroups{}
	for _, h := range list {
		dir := filepath.Join(h.own, name)
		c.dirs = append(c.dirs, dir)
		if h.v2() {
			c.v2 = dir
			handOn(h.own)
		}
	}
	if c.v2 == "" {
		return nil, errors.New("this machine has no cgroup v2 tree, which freezes and kills hosts")
	}
	if err := c.makeLocked(); err != nil {
		return nil, err
	}
	for _, dir := range c.dirs {
		if err := makeCgroup(dir); err != nil {
			return nil, errors.Join(err, c.remove(""))
		}
	}
	handOn(c.v2)
	return c, nil
}

// handOn lets the groups below have the controllers of a pure cgroup v2 tree; a hybrid one has none to hand on.
func handOn(dir string) {
	for _, controller := range []string{"cpu", "memory", "pids", "io"} {
		_ = os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+controller), 0o644) // Limits are refused by name later.
	}
}

// makeLocked makes the v2 folder and holds a lock on it for as long as this process lives.
func (c *cgroups) makeLocked() error {
	for range lockTries {
		if err := os.Mkdir(c.v2, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		f, err := os.Open(c.v2)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
			return errors.Join(fmt.Errorf("lock %s: %w", c.v2, err), f.Close())
		}
		if sameFile(f, c.v2) {
			c.lock = f
			return nil
		}
		_ = f.Close() // A sweep was between the two calls.
	}
	return fmt.Errorf("%s is removed again and again", c.v2)
}

func sameFile(f *os.File, path string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Stat(path)
	return err == nil && os.SameFile(a, b)
}

func makeCgroup(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if !exists(filepath.Join(dir, "cpuset.cpus")) || exists(filepath.Join(dir, "cgroup.controllers")) {
		return nil
	}
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} { // A v1 cpuset is empty at first and takes no process.
		text, err := os.ReadFile(filepath.Join(filepath.Dir(dir), file))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, file), text, 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "cgroup.clone_children"), []byte("1"), 0o644)
}

// add makes a host's groups and puts its first process into them.
func (c *cgroups) add(host string, pid int, o Options) error {
	for _, bed := range c.dirs {
		dir := filepath.Join(bed, host)
		if err := makeCgroup(dir); err != nil {
			return err
		}
		if err := limit(dir, o); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// cpuPeriod is the kernel's usual one, in microseconds.
const cpuPeriod = 100_000

func limit(dir string, o Options) error {
	quota := strconv.Itoa(int(o.CPUs * cpuPeriod))
	memory := strconv.Itoa(o.MemoryMiB << 20)
	values := map[string]string{}
	if o.MemoryMiB > 0 {
		values["memory.limit_in_bytes"], values["memory.max"] = memory, memory
	}
	if o.CPUs > 0 {
		values["cpu.cfs_quota_us"], values["cpu.max"] = quota, quota+" "+strconv.Itoa(cpuPeriod)
	}
	for file, value := range values {
		path := filepath.Join(dir, file)
		if !exists(path) { // A file of the other version, or of another controller.
			continue
		}
		if err := os.WriteFile(path, []byte(value), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (c *cgroups) kill(host string) error {
	err := os.WriteFile(filepath.Join(c.v2, host, "cgroup.kill"), []byte("1"), 0o644)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // Never made.
	}
	return err
}

// stateTries and stateWait bound how long the kernel may take to stop or end the processes of a group.
const (
	stateTries = 1000
	stateWait  = 5 * time.Millisecond
)

// freeze stops or continues every process of a host and returns when the kernel says that it is so.
func (c *cgroups) freeze(host string, on bool) error {
	dir := filepath.Join(c.v2, host)
	value, want := "0", "frozen 0"
	if on {
		value, want = "1", "frozen 1"
	}
	if err := os.WriteFile(filepath.Join(dir, "cgroup.freeze"), []byte(value), 0o644); err != nil {
		return err
	}
	return poll(func() error {
		text, err := os.ReadFile(filepath.Join(dir, "cgroup.events"))
		if err == nil && !strings.Contains(string(text), want) {
			err = fmt.Errorf("the kernel does not say %q: %q", want, text)
		}
		return err
	})
}

// remove takes a host's groups away, or with "" those of the whole bed; its processes have been killed.
func (c *cgroups) remove(host string) error {
	return removeGroups(c.dirs, c.v2, host, poll)
}

// removeGroups takes the v2 group last and only after all others: a sweep finds a dead bed by it.
func removeGroups(dirs []string, v2, host string, try func(func() error) error) error {
	var errs []error
	for _, dir := range dirs {
		if dir != v2 {
			errs = append(errs, try(func() error { return removeTree(filepath.Join(dir, host)) }))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return try(func() error { return removeTree(filepath.Join(v2, host)) })
}

// poll tries until there is no error, for a bounded time.
func poll(try func() error) error {
	var err error
	for range stateTries {
		if err = try(); err == nil {
			return nil
		}
		<-time.After(stateWait)
	}
	return err
}

// removeTree removes a cgroup with the groups in it, deepest first; their files are no files that one could remove.
func removeTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeTree(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return os.Remove(dir)
}

// sweep removes the empty groups of beds whose holder was killed. What it cannot remove, the next one tries again.
func sweep() {
	list, err := hierarchies()
	if err != nil {
		return
	}
	for _, h := range list {
		if !h.v2() {
			continue
		}
		beds, _ := filepath.Glob(filepath.Join(h.own, cgroupPrefix+"*")) // The pattern is well formed.
		for _, v2 := range beds {
			lock := lockDead(v2)
			if lock == nil {
				continue
			}
			var dirs []string
			for _, h := range list {
				dirs = append(dirs, filepath.Join(h.own, filepath.Base(v2)))
			}
			_ = removeGroups(dirs, v2, "", func(f func() error) error { return f() }) // Its processes may not have ended yet.
			_ = lock.Close()                                                          // Held until here.
		}
	}
}

// lockDead locks the folder of a bed whose holder is gone; nil if it lives.
func lockDead(dir string) *os.File {
	f, err := os.Open(dir)
	if err != nil {
		return nil
	}
	if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		_ = f.Close() // Only opened.
		return nil
	}
	return f
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
