package agent

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/judge"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/unit"
)

// Socket is one listening socket of the machine.
type Socket struct {
	Proto   string // tcp or udp.
	Address string // "0.0.0.0", "::", "127.0.0.1".
	Port    uint16
	Inode   uint64
}

// SocketTable reads the machine's listening sockets; Owner finds the process of one.
type SocketTable func() Sockets

// Sockets is one reading of the table.
type Sockets struct {
	List []Socket
	// Owner finds who holds a socket: pid 0 when that cannot be seen.
	Owner func(Socket) (pid int, command string)
	// Parents gives a process and its ancestors, nearest first.
	Parents func(pid int) []int
}

func noSockets() Sockets { return Sockets{} }

// portRetry is how soon to look again at a port whose holder is on its way out.
const portRetry = 300 * time.Millisecond

// portsTaken looks for the declared host ports in the machine's socket table before a start.
func (a *Agent) portsTaken(s *slot) *reason.Reason {
	ports := s.unit.Argosy.Ports
	if len(ports) == 0 {
		return nil
	}
	table := a.Sockets()
	for _, p := range ports {
		for _, sock := range table.List {
			if !clashes(p, sock) {
				continue
			}
			h, leaving := a.holder(table, sock)
			if h.Name == s.name {
				continue // A process of its own that was left over (KillMode=process), or its socket.
			}
			args := reason.Args{"port": p.Number, "proto": sock.Proto, "holder": h.Name}
			if h.PID > 0 {
				args["pid"] = h.PID
			}
			if leaving {
				args["leaving"] = true
				s.due = a.Now().Add(portRetry)
			}
			return reason.Because(reason.PortTaken, args)
		}
	}
	return nil
}

// clashes: the same port and protocol, and an address that is the same or everything on either side.
func clashes(p unit.Port, s Socket) bool {
	proto := p.Proto
	if proto == "" {
		proto = "tcp"
	}
	if p.Number != s.Port || proto != s.Proto {
		return false
	}
	return p.Address == "" || p.Address == s.Address || anyAddress(p.Address) || anyAddress(s.Address)
}

func anyAddress(s string) bool { return s == "0.0.0.0" || s == "::" || s == "" }

// holder names who has a socket: a unit of ours when the process is one's, else the command. leaving: that unit is on
// its way down.
func (a *Agent) holder(table Sockets, sock Socket) (h judge.Holder, leaving bool) {
	if table.Owner == nil {
		return judge.Holder{Name: "another process"}, false
	}
	pid, command := table.Owner(sock)
	h = judge.Holder{PID: pid, Name: command}
	if pid == 0 {
		h.Name = "a process that cannot be seen from here"
		return h, false
	}
	mains := map[int]*slot{}
	for _, s := range a.slots {
		if s.evidence != nil && s.evidence.MainPID > 0 {
			mains[s.evidence.MainPID] = s
		}
	}
	for _, p := range append([]int{pid}, table.Parents(pid)...) {
		if s := mains[p]; s != nil {
			return judge.Holder{PID: pid, Name: s.name}, s.evidence.Active == "deactivating" || s.removing || s.want() != cluster.Launched
		}
	}
	if h.Name == "" {
		h.Name = "process " + strconv.Itoa(pid)
	}
	return h, false
}

// takenPort finds who has a port that a program could not bind. When the program did not name it (0), it is the declared
// one, or the one number of its command line and environment on which somebody listens.
func (a *Agent) takenPort(u *unit.Unit, port uint16) (uint16, map[uint16]judge.Holder) {
	table := a.Sockets()
	if port == 0 && u != nil {
		port = suspect(u, table)
	}
	for _, sock := range table.List {
		if sock.Port == port && port != 0 {
			h, _ := a.holder(table, sock)
			return port, map[uint16]judge.Holder{port: h}
		}
	}
	return port, nil
}

func suspect(u *unit.Unit, table Sockets) uint16 {
	if len(u.Argosy.Ports) == 1 {
		return u.Argosy.Ports[0].Number
	}
	if u.Service == nil {
		return 0
	}
	listening := map[uint16]bool{}
	for _, s := range table.List {
		listening[s.Port] = true
	}
	texts := slices.Clone(u.Service.Exec.Environment)
	for _, c := range u.Service.ExecStart {
		texts = append(texts, c.Argv...)
	}
	found := map[uint16]bool{}
	for _, text := range texts {
		for _, digits := range strings.FieldsFunc(text, func(r rune) bool { return r < '0' || r > '9' }) {
			if n, err := strconv.ParseUint(digits, 10, 16); err == nil && listening[uint16(n)] {
				found[uint16(n)] = true
			}
		}
	}
	if len(found) != 1 {
		return 0
	}
	for port := range found {
		return port
	}
	return 0
}
