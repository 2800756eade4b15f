package light

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// tmpfsMiB is the size of a host's disk that is not asked to survive anything.
const tmpfsMiB = 256

// hidden are folders of the machine's root that a host begins without: what is there is the machine's, not a host's.
func hidden() []string {
	return []string{"tmp", "var/tmp", "root", "home", "etc/argosy", "var/lib/argosy", "var/log/journal"}
}

// disk is a host's: a file system of its own that holds what it changes of the machine's root.
type disk struct {
	dir   string // Everything of the host lies here, in the bed's memory.
	mib   int    // Of the ext4; 0 is a tmpfs.
	loop  string // Name of the loop device while the ext4 is mounted.
	procs *procs
}

func (d *disk) at() string    { return filepath.Join(d.dir, "disk") }
func (d *disk) root() string  { return filepath.Join(d.dir, "root") }
func (d *disk) image() string { return filepath.Join(d.dir, "disk.ext4") }
func (d *disk) fill() string  { return filepath.Join(d.at(), "fill") }

// mount makes the disk if the host has none yet, and shows the host's root.
func (d *disk) mount() error {
	fresh := !exists(d.at())
	for _, dir := range []string{d.at(), d.root()} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := d.mountOwn(fresh); err != nil {
		return err
	}
	upper, work := filepath.Join(d.at(), "upper"), filepath.Join(d.at(), "work")
	if fresh {
		if err := errors.Join(prepareUpper(upper, work), d.sync()); err != nil { // It outlasts the first power loss.
			return err
		}
	}
	// lowerdir is the machine's root without what is mounted below it; an overlay never writes to it.
	options := fmt.Sprintf("lowerdir=/,upperdir=%s,workdir=%s", upper, work)
	if err := unix.Mount("overlay", d.root(), "overlay", 0, options); err != nil {
		return fmt.Errorf("mount overlay: %w", err)
	}
	return nil
}

func (d *disk) mountOwn(fresh bool) error {
	if d.mib == 0 {
		if !fresh {
			return nil // It stays mounted while the host has no power.
		}
		return unix.Mount("tmpfs", d.at(), "tmpfs", 0, fmt.Sprintf("size=%dm,mode=755", tmpfsMiB))
	}
	if fresh {
		if err := d.format(); err != nil {
			return err
		}
	}
	loop, err := attachLoop(d.image())
	if err != nil {
		return err
	}
	defer func() { _ = loop.Close() }() // The mount keeps it; without one it detaches itself.
	if err := unix.Mount(loop.Name(), d.at(), "ext4", unix.MS_NOATIME, ""); err != nil {
		return fmt.Errorf("mount %s: %w", loop.Name(), err)
	}
	d.loop = filepath.Base(loop.Name())
	return nil
}

func (d *disk) format() error {
	if err := os.WriteFile(d.image(), nil, 0o600); err != nil {
		return err
	}
	if err := os.Truncate(d.image(), int64(d.mib)<<20); err != nil {
		return err
	}
	return d.procs.run("mke2fs", "-q", "-F", "-t", "ext4", "-m", "0", "-J", "size=4", "-E", "lazy_itable_init=1,nodiscard", d.image())
}

func prepareUpper(upper, work string) error {
	if err := os.Mkdir(work, 0o755); err != nil {
		return err
	}
	for _, dir := range append([]string{""}, hidden()...) {
		path := filepath.Join(upper, dir)
		if err := os.MkdirAll(path, 0o755); err != nil {
			return err
		}
		if dir == "" {
			continue
		}
		// An opaque folder hides that of the lower layer (Documentation/filesystems/overlayfs.rst).
		if err := unix.Setxattr(path, "trusted.overlay.opaque", []byte("y"), 0); err != nil {
			return fmt.Errorf("hide /%s: %w", dir, err)
		}
	}
	for _, dir := range []string{"tmp", "var/tmp"} {
		if err := os.Chmod(filepath.Join(upper, dir), 0o777|os.ModeSticky); err != nil {
			return err
		}
	}
	return os.Chmod(filepath.Join(upper, "root"), 0o700)
}

// loopTries bounds how often another bed may take the free loop device first.
const loopTries = 50

// attachLoop shows a file as a block device that detaches itself when nobody uses it any more.
func attachLoop(path string) (*os.File, error) {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = control.Close() }() // Only asked.
	image, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = image.Close() }() // The device keeps it.
	config := unix.LoopConfig{Fd: uint32(image.Fd()), Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR}}
	copy(config.Info.File_name[:], path)
	for range loopTries {
		number, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, fmt.Errorf("ask for a loop device: %w", err)
		}
		device, err := os.OpenFile("/dev/loop"+strconv.Itoa(number), os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		if err = unix.IoctlLoopConfigure(int(device.Fd()), &config); err == nil {
			return device, nil
		}
		if err := errors.Join(err, device.Close()); !errors.Is(err, unix.EBUSY) {
			return nil, fmt.Errorf("set up %s: %w", device.Name(), err)
		}
	}
	return nil, errors.New("every free loop device is taken by somebody else first")
}

// noLogFlush is EXT4_GOING_FLAGS_NOLOGFLUSH (fs/ext4/ext4.h): not even the journal is written.
const noLogFlush = 2

// fsShutdown is FS_IOC_SHUTDOWN (include/uapi/linux/fs.h): from now on nothing reaches the disk.
const fsShutdown = 0x8004587d

// cutPower loses what the host has not synced. A tmpfs loses nothing.
func (d *disk) cutPower() error {
	if d.mib == 0 || d.loop == "" {
		return nil
	}
	f, err := os.Open(d.at())
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // Only opened for the call.
	if err := unix.IoctlSetPointerInt(int(f.Fd()), fsShutdown, noLogFlush); err != nil {
		return fmt.Errorf("shut %s down: %w", d.at(), err)
	}
	return nil
}

// unmount takes the root away, and the ext4 until the kernel has let it go: it must not be mounted twice.
func (d *disk) unmount() error {
	if err := unix.Unmount(d.root(), unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
		return err // EINVAL: it is not mounted.
	}
	if d.loop == "" {
		return nil
	}
	if err := unix.Unmount(d.at(), unix.MNT_DETACH); err != nil {
		return err
	}
	backing := filepath.Join("/sys/block", d.loop, "loop/backing_file")
	err := poll(func() error {
		text, err := os.ReadFile(backing)
		if errors.Is(err, fs.ErrNotExist) || (err == nil && !strings.Contains(string(text), d.image())) {
			return nil
		}
		return errors.Join(err, fmt.Errorf("%s still has %s", d.loop, d.image()))
	})
	if err == nil {
		d.loop = ""
	}
	return err
}

// fillStep is the first and largest piece that takeRoom asks for, lastStep the smallest.
const (
	fillStep = 1 << 30
	lastStep = 1 << 12
)

// takeRoom fills the disk to the last block, for good: the file is there after a power loss.
func (d *disk) takeRoom() error {
	f, err := os.OpenFile(d.fill(), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // Synced below.
	at, err := f.Seek(0, 2)
	if err != nil {
		return err
	}
	for step := int64(fillStep); step >= lastStep; {
		switch err := unix.Fallocate(int(f.Fd()), 0, at, step); {
		case err == nil:
			at += step
		case errors.Is(err, unix.ENOSPC):
			step /= 2
		case !errors.Is(err, unix.EINTR):
			return err
		}
	}
	return f.Sync()
}

// giveRoom undoes takeRoom; the room is there when it returns.
func (d *disk) giveRoom() error {
	if err := os.Remove(d.fill()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return d.sync()
}

func (d *disk) sync() error {
	f, err := os.Open(d.at())
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // Only opened for the call.
	return unix.Syncfs(int(f.Fd()))
}
