package spawn

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Started is a process that is on its way to exec.
type Started struct {
	PID int
	// Report is read to its end: empty when the program was executed, else a Failure as JSON.
	Report int // A file descriptor that does not block.
}

// Starter starts processes through the helper.
type Starter struct {
	exe  string
	args []string
	null *os.File
}

// NewStarter makes a starter that runs the helper by this command line; HelperName is added.
func NewStarter(exe string, args ...string) (*Starter, error) {
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return &Starter{exe: exe, args: append([]string{"argosy", HelperName}, args...), null: null}, nil
}

// Start begins a process in a session of its own. It must not run beside a wait4(-1): the caller's loop does both.
func (st *Starter) Start(s *Setup) (Started, error) {
	raw, err := json.Marshal(s)
	if err != nil {
		return Started{}, err
	}
	mem, err := unix.MemfdCreate("argosy-setup", unix.MFD_CLOEXEC)
	if err != nil {
		return Started{}, fmt.Errorf("memfd: %w", err)
	}
	setup := os.NewFile(uintptr(mem), "setup")
	defer func() { _ = setup.Close() }()
	if _, err := setup.WriteAt(raw, 0); err != nil {
		return Started{}, err
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return Started{}, fmt.Errorf("pipe: %w", err)
	}
	r, w := pipe[0], pipe[1]
	defer func() { _ = unix.Close(w) }()
	null := st.null.Fd()
	pid, err := syscall.ForkExec(st.exe, st.args, &syscall.ProcAttr{
		Dir: "/", Env: []string{"GOMAXPROCS=1", "GOGC=off"},
		Files: []uintptr{null, null, null, uintptr(mem), uintptr(w)},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	runtime.KeepAlive(setup)
	if err != nil {
		_ = unix.Close(r)
		return Started{}, fmt.Errorf("fork: %w", err)
	}
	return Started{PID: pid, Report: r}, nil
}

// ParseReport reads what came over Report; nil when the program was executed.
func ParseReport(raw []byte) *Failure {
	if len(raw) == 0 {
		return nil
	}
	var f Failure
	if err := json.Unmarshal(raw, &f); err != nil {
		return setupFailure(statusExec, "set-up", err)
	}
	return &f
}

func rawSetgroups(groups []uint32) error {
	var p unsafe.Pointer
	if len(groups) > 0 {
		p = unsafe.Pointer(&groups[0])
	}
	if _, _, e := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(p), 0); e != 0 {
		return e
	}
	return nil
}
