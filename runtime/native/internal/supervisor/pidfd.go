package supervisor

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"argosy.dev/argosy/runtime/native/internal/service"
)

// pidfdInfo is struct pidfd_info of linux/pidfd.h (Linux 6.15 knows the exit code).
type pidfdInfo struct {
	Mask                                       uint64
	CgroupID                                   uint64
	PID, TGID, PPID                            uint32
	RUID, RGID, EUID, EGID, SUID, SGID, FU, FG uint32
	ExitCode                                   int32
	_                                          uint64 // coredump_mask and a spare.
}

const (
	pidfdInfoExit = 1 << 3
	ioctlNumber   = 0xff<<8 | 11 // PIDFS_IOCTL_MAGIC, PIDFD_GET_INFO.
	ioctlReadWrit = 3 << 30
)

// exitOf asks the kernel how a process that is not our child ended; older kernels do not tell, and none before
// the process was reaped.
func exitOf(fd int) (service.Ended, bool) {
	info := pidfdInfo{Mask: pidfdInfoExit}
	req := ioctlReadWrit | ioctlNumber | unsafe.Sizeof(info)<<16
	_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), req, uintptr(unsafe.Pointer(&info)))
	if e != 0 || info.Mask&pidfdInfoExit == 0 {
		return service.Ended{Unknown: true}, false
	}
	ws := unix.WaitStatus(info.ExitCode)
	if ws.Signaled() {
		return service.Ended{Signal: int(ws.Signal()), Core: ws.CoreDump()}, true
	}
	return service.Ended{Status: ws.ExitStatus()}, true
}
