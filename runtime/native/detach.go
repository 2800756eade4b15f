package native

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxReady bounds what the init process may say while it starts.
const maxReady = 4096

// startInit starts an init process that is not bound to us: a session of its own, its words in a file.
func startInit(ctx context.Context, opt Options) error {
	if len(opt.Init) == 0 {
		return errors.New("no init process runs, and no command line to start one was given")
	}
	if err := makeDirs(opt); err != nil {
		return err
	}
	lock, err := lockStart(opt.Dir)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }()
	if c, err := dialSocket(ctx, opt.Dir); err == nil { // Somebody else was faster.
		return c.Close()
	}
	out, err := os.OpenFile(filepath.Join(opt.Dir, "init.log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }()
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	argv := append(append([]string(nil), opt.Init[1:]...), "-dir", opt.Dir, "-run-dir", opt.RunDir)
	argv = append(argv, baseFlags(opt.Bases)...)
	cmd := exec.Command(opt.Init[0], argv...) //nolint:noctx // It has to outlive us.
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = "/", out, out, []*os.File{w}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	_ = w.Close()
	if err != nil {
		return fmt.Errorf("start the init process: %w", err)
	}
	go func() { _ = cmd.Wait() }() // Only so that it does not stay a zombie when it ends before us.
	return waitReady(ctx, r)
}

func waitReady(ctx context.Context, r *os.File) error {
	stop := context.AfterFunc(ctx, func() { _ = r.Close() })
	defer stop()
	said, err := io.ReadAll(io.LimitReader(r, maxReady))
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("wait for the init process: %w", err)
	case string(said) != "ready":
		return fmt.Errorf("the init process did not start: %s", said)
	}
	return nil
}

func makeDirs(opt Options) error {
	if err := os.MkdirAll(opt.Dir, 0o700); err != nil {
		return err
	}
	if err := os.Chmod(opt.Dir, 0o700); err != nil {
		return err
	}
	return os.MkdirAll(opt.RunDir, 0o711)
}

func baseFlags(b Bases) []string {
	var out []string
	for _, f := range []struct{ flag, value string }{
		{"-runtime-base", b.Runtime}, {"-state-base", b.State}, {"-cache-base", b.Cache}, {"-logs-base", b.Logs}, {"-config-base", b.Config},
	} {
		if f.value != "" {
			out = append(out, f.flag, f.value)
		}
	}
	return out
}
