package systemd

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// historyEntries bounds how far back a new agent reads PID 1's words.
	historyEntries = 20_000
	// maxEntry bounds one line of journalctl's output; a longer one ends the reading.
	maxEntry = 4 << 20
	// journalPause is between a journalctl that ended and the next.
	journalPause = time.Second
)

// field is one field of journalctl's JSON: text, null when it was too long, or an array of bytes when it is not UTF-8.
type field string

// UnmarshalJSON reads any of the forms; a field that is there more than once gives its last value.
func (f *field) UnmarshalJSON(b []byte) error {
	var s string
	if len(b) > 0 && b[0] == '"' {
		err := json.Unmarshal(b, &s)
		*f = field(s)
		return err
	}
	var list []json.RawMessage
	if err := json.Unmarshal(b, &list); err != nil || len(list) == 0 {
		*f = ""
		return err
	}
	if list[0][0] == '"' || list[0][0] == '[' || list[0][0] == 'n' {
		return f.UnmarshalJSON(list[len(list)-1])
	}
	raw := make([]byte, 0, len(list))
	for _, n := range list {
		v, err := strconv.ParseUint(string(n), 10, 8)
		if err != nil {
			return fmt.Errorf("a byte of a journal field: %w", err)
		}
		raw = append(raw, byte(v))
	}
	*f = field(raw)
	return nil
}

// entry is one journal entry, as far as it is looked at. Names with "_" are journald's own and cannot be forged.
type entry struct {
	Cursor        field `json:"__CURSOR"`
	Realtime      field `json:"__REALTIME_TIMESTAMP"`
	PID           field `json:"_PID"`
	Transport     field `json:"_TRANSPORT"`
	OwnUnit       field `json:"_SYSTEMD_UNIT"`
	OwnInvocation field `json:"_SYSTEMD_INVOCATION_ID"`
	Message       field `json:"MESSAGE"`
	MessageID     field `json:"MESSAGE_ID"`
	Unit          field `json:"UNIT"`
	Invocation    field `json:"INVOCATION_ID"`
	ExitCode      field `json:"EXIT_CODE"`
	ExitStatus    field `json:"EXIT_STATUS"`
	Command       field `json:"COMMAND"`
	JobResult     field `json:"JOB_RESULT"`
}

func (e entry) at() time.Time {
	n, err := strconv.ParseInt(string(e.Realtime), 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.UnixMicro(n)
}

// watcher reads PID 1's words about units: at first those of this boot, then the new ones as they come.
type watcher struct {
	log    *slog.Logger
	take   func(entry)
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func newWatcher(log *slog.Logger, take func(entry)) *watcher {
	return &watcher{log: log, take: take, cancel: func() {}}
}

// start reads the past and then follows in the background until stop.
func (w *watcher) start(ctx context.Context) error {
	cursor, err := w.read(ctx, "", false)
	if err != nil {
		return err
	}
	ctx, w.cancel = context.WithCancel(context.WithoutCancel(ctx)) // Until stop, not until the opening is over.
	w.wg.Go(func() { w.follow(ctx, cursor) })
	return nil
}

func (w *watcher) stop() {
	w.cancel()
	w.wg.Wait()
}

// follow starts a new journalctl whenever one ends: journald may be restarted, files may be rotated away.
func (w *watcher) follow(ctx context.Context, cursor string) {
	for {
		var err error
		if cursor, err = w.read(ctx, cursor, true); ctx.Err() != nil {
			return
		}
		w.log.Warn("journalctl ended, and is started again", "error", err)
		select {
		case <-time.After(journalPause):
		case <-ctx.Done():
			return
		}
	}
}

// read runs one journalctl to its end and gives the cursor after the last entry that was taken.
func (w *watcher) read(ctx context.Context, cursor string, follow bool) (string, error) {
	args := []string{"--boot", "--lines=" + strconv.Itoa(historyEntries)}
	if follow {
		args = append(args, "--follow")
	}
	if cursor != "" {
		args = append(args, "--after-cursor="+cursor)
	}
	args = append(args, "--output-fields="+strings.Join([]string{"MESSAGE_ID", "UNIT", "INVOCATION_ID", "EXIT_CODE", "EXIT_STATUS", "COMMAND", "JOB_RESULT"}, ","), "_PID=1")
	for _, id := range []string{msgStarting, msgStarted, msgStopping, msgProcessExit, msgSuccess, msgRestart, msgJobFailed, msgOOM} {
		args = append(args, "MESSAGE_ID="+id)
	}
	err := journalctl(ctx, args, func(e entry) bool {
		cursor = string(e.Cursor)
		w.take(e)
		return true
	})
	return cursor, err
}

// journalctl runs the program and hands out entries until it ends, ctx ends or each returns false.
func journalctl(ctx context.Context, args []string, each func(entry) bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, "journalctl", append([]string{"--output=json", "--all", "--no-pager", "--quiet"}, args...)...)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start journalctl: %w", err)
	}
	err = scan(out, each)
	cancel() // Nothing more is read: it must not wait for a reader.
	if werr := cmd.Wait(); err == nil && werr != nil && said.Len() > 0 {
		err = fmt.Errorf("journalctl: %w: %s", werr, strings.TrimSpace(said.String()))
	}
	return err
}

func scan(r io.Reader, each func(entry) bool) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), maxEntry)
	for lines.Scan() {
		var e entry
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return fmt.Errorf("read journalctl's output: %w", err)
		}
		if !each(e) {
			return nil
		}
	}
	if err := lines.Err(); err != nil && !errors.Is(err, io.ErrClosedPipe) {
		return fmt.Errorf("read journalctl's output: %w", err)
	}
	return nil
}
