package systemd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	sdbus "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"

	"argosy.dev/argosy/reason"
)

const (
	// privateSocket is PID 1's own D-Bus socket: no dbus-daemon is needed.
	privateSocket = "/run/systemd/private"
	busName       = "org.freedesktop.systemd1"
	managerPath   = dbus.ObjectPath("/org/freedesktop/systemd1")
	managerIface  = busName + ".Manager"
	unitIface     = busName + ".Unit"
	serviceIface  = busName + ".Service"
	propsIface    = "org.freedesktop.DBus.Properties"

	// callTimeout bounds one call of PID 1; a daemon-reload of a busy machine is the longest.
	callTimeout = 90 * time.Second
	// dialTries and dialTimeout bound the making of a connection.
	dialTries   = 3
	dialTimeout = 5 * time.Second
	// signalBuffer is how many signals may wait to be looked at; the D-Bus library keeps the rest.
	signalBuffer = 512
)

// bus is the connection to PID 1. A lost one is made anew by the next call.
type bus struct {
	// changed is told which unit a signal was about; "" means that any may have changed. The properties are those
	// of the signal, if it had some.
	changed func(unit, iface string, p props)
	// jobDone is told how a job ended.
	jobDone func(unit, result string)

	ctx    context.Context // Ends with close.
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu   sync.Mutex
	conn *dbus.Conn
}

func newBus(changed func(unit, iface string, p props), jobDone func(unit, result string)) *bus {
	b := &bus{changed: changed, jobDone: jobDone}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	return b
}

func (b *bus) close() {
	b.cancel()
	b.mu.Lock()
	if b.conn != nil {
		_ = b.conn.Close() // Nothing is left to be done about it.
	}
	b.mu.Unlock()
	b.wg.Wait()
}

// connection gives the present connection, or makes one.
func (b *bus) connection() (*dbus.Conn, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.ctx.Err(); err != nil {
		return nil, down(errors.New("closed"))
	}
	if b.conn != nil && b.conn.Connected() {
		return b.conn, nil
	}
	var err error
	for range dialTries {
		var conn *dbus.Conn
		if conn, err = b.dial(); err == nil {
			b.conn = conn
			return conn, nil
		}
	}
	return nil, down(err)
}

// dial makes a connection and says the first words on it. PID 1 (systemd 252) at times does not see a first message
// that comes together with the end of the authentication, until a second one comes: measured, 1 in 6 with a short
// message. So two are sent, and the wait is short.
func (b *bus) dial() (*dbus.Conn, error) {
	conn, err := dbus.Dial("unix:path="+privateSocket, dbus.WithContext(b.ctx))
	if err != nil {
		return nil, err
	}
	if err := conn.Auth([]dbus.Auth{dbus.AuthExternal(strconv.Itoa(os.Getuid()))}); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	signals := make(chan *dbus.Signal, signalBuffer)
	conn.Signal(signals)
	ctx, cancel := context.WithTimeout(b.ctx, dialTimeout)
	defer cancel()
	manager := conn.Object(busName, managerPath)
	manager.GoWithContext(ctx, propsIface+".Get", 0, nil, managerIface, "Version")
	if call := manager.CallWithContext(ctx, managerIface+".Subscribe", 0); call.Err != nil {
		return nil, errors.Join(call.Err, conn.Close())
	}
	b.wg.Go(func() { b.listen(signals) })
	return conn, nil
}

func down(err error) error {
	return reason.Because(reason.RuntimeDown, reason.Args{"runtime": Name, "error": err.Error()})
}

// listen turns signals into kicks until the connection ends. What was missed in between is unknown,
// so the end of a connection is news about every unit.
func (b *bus) listen(signals <-chan *dbus.Signal) {
	for s := range signals {
		switch s.Name {
		case propsIface + ".PropertiesChanged":
			if name, ok := unitOfPath(s.Path); ok && len(s.Body) > 1 {
				p, _ := s.Body[1].(map[string]dbus.Variant)
				b.changed(name, text(s.Body[0]), p)
			}
		case managerIface + ".JobNew":
			if len(s.Body) > 2 {
				b.changed(text(s.Body[2]), "", nil)
			}
		case managerIface + ".JobRemoved":
			if len(s.Body) > 3 {
				b.jobDone(text(s.Body[2]), text(s.Body[3]))
			}
		case managerIface + ".Reloading":
			b.changed("", "", nil)
		}
	}
	b.changed("", "", nil)
}

// call calls a method of the manager and stores its answer.
func (b *bus) call(ctx context.Context, method string, args []any, answer ...any) error {
	return b.callOn(ctx, managerPath, managerIface+"."+method, args, answer...)
}

func (b *bus) callOn(ctx context.Context, path dbus.ObjectPath, method string, args []any, answer ...any) error {
	conn, err := b.connection() //nolint:contextcheck // The connection is everybody's and outlives this call.
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	call := conn.Object(busName, path).CallWithContext(ctx, method, 0, args...)
	if call.Err == nil {
		return call.Store(answer...)
	}
	if _, ok := errors.AsType[dbus.Error](call.Err); !ok && !errors.Is(call.Err, ctx.Err()) {
		return down(call.Err) // No answer of PID 1's, but the loss of the way to it.
	}
	return call.Err
}

// properties gives all properties of one interface of a unit.
func (b *bus) properties(ctx context.Context, unit, iface string) (props, error) {
	p := props{}
	if err := b.callOn(ctx, unitPath(unit), propsIface+".GetAll", []any{iface}, &p); err != nil {
		return nil, fmt.Errorf("read the properties of %s: %w", unit, err)
	}
	return p, nil
}

const unitPrefix = "/org/freedesktop/systemd1/unit/"

func unitPath(name string) dbus.ObjectPath {
	return dbus.ObjectPath(unitPrefix + sdbus.PathBusEscape(name))
}

// unitOfPath undoes systemd's escape in object paths: _XX for a byte in hex.
func unitOfPath(path dbus.ObjectPath) (string, bool) {
	rest, ok := strings.CutPrefix(string(path), unitPrefix)
	if !ok {
		return "", false
	}
	var out strings.Builder
	for i := 0; i < len(rest); i++ {
		if rest[i] == '_' && i+2 < len(rest) {
			if n, err := strconv.ParseUint(rest[i+1:i+3], 16, 8); err == nil {
				out.WriteByte(byte(n))
				i += 2
				continue
			}
		}
		out.WriteByte(rest[i])
	}
	return out.String(), true
}

// isBusError tells whether PID 1 refused with one of the names, such as NoSuchUnit.
func isBusError(err error, names ...string) bool {
	e, ok := errors.AsType[dbus.Error](err)
	if !ok {
		return false
	}
	for _, n := range names {
		if e.Name == busName+"."+n {
			return true
		}
	}
	return false
}
