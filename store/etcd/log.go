package etcd

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"strings"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// newLogger is etcd's logger. etcd ends the process when it cannot go on, such as on a full disk or a broken
// file; here that would take the agent along. So its last line goes to failed instead, and only the goroutine
// that said it ends.
func newLogger(log *slog.Logger, failed chan<- error) *zap.Logger {
	hook := lastWords{failed}
	return zap.New(newCore(log, failed), zap.WithFatalHook(hook), zap.WithPanicHook(hook))
}

type lastWords struct{ failed chan<- error }

// OnWrite implements zapcore.CheckWriteHook.
func (l lastWords) OnWrite(e *zapcore.CheckedEntry, fields []zapcore.Field) {
	err := fmt.Errorf("etcd: %s", e.Message)
	for _, f := range fields {
		if cause, ok := f.Interface.(error); ok && f.Type == zapcore.ErrorType {
			err = fmt.Errorf("etcd: %s: %w", e.Message, cause)
		}
	}
	select {
	case l.failed <- err:
	default: // The first word is the cause.
	}
	runtime.Goexit()
}

// core hands etcd's log lines of level warn and above to slog.
type core struct {
	log    *slog.Logger
	failed chan<- error
}

func newCore(log *slog.Logger, failed chan<- error) zapcore.Core {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return core{log: log.With("from", "etcd"), failed: failed}
}

// useless tells the lines that a start, a stop or a change of members always says and nobody can do anything about.
// That a member is away is said once, by "peer became inactive".
func useless(message string) bool {
	switch message {
	case "closed TCP streaming connection with remote peer", "lost TCP streaming connection with remote peer",
		"setting up serving from embedded etcd failed.", "Failed to detect schema version", "failed to update storage version",
		"failed to reach the peer URL", "failed to get version", "prober detected unhealthy status", "failed to find remote peer in cluster",
		"data-dir used by this member must be removed", "rejected stream from remote peer because it was removed", "Running http and grpc server on single port. This is not recommended for production.",
		"simple token is not cryptographically signed":
		return true
	}
	return strings.HasPrefix(message, "rejecting ") // A change of the members that is refused: the caller has the error.
}

func (c core) Enabled(l zapcore.Level) bool { return l >= zapcore.WarnLevel }

func (c core) With(fields []zapcore.Field) zapcore.Core {
	return core{log: c.log.With(attrs(fields)...), failed: c.failed}
}

func (c core) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) && !useless(e.Message) {
		return ce.AddCore(e, c)
	}
	return ce
}

func (c core) Write(e zapcore.Entry, fields []zapcore.Field) error {
	if removed(e.Message, fields) {
		select {
		case c.failed <- ErrRemoved:
		default:
		}
		return nil
	}
	level := slog.LevelWarn
	if e.Level >= zapcore.ErrorLevel {
		level = slog.LevelError
	}
	c.log.Log(context.Background(), level, e.Message, attrs(fields)...)
	return nil
}

// removed tells the line with which a member stops that the others removed: etcd says it nowhere else.
func removed(message string, fields []zapcore.Field) bool {
	if message != "server error" {
		return false
	}
	for _, f := range fields {
		if cause, ok := f.Interface.(error); ok && f.Type == zapcore.ErrorType {
			return strings.Contains(cause.Error(), "permanently removed")
		}
	}
	return false
}

func (c core) Sync() error { return nil }

func attrs(fields []zapcore.Field) []any {
	enc := zapcore.NewMapObjectEncoder()
	for _, f := range fields {
		f.AddTo(enc)
	}
	out := make([]any, 0, 2*len(enc.Fields))
	for _, k := range slices.Sorted(maps.Keys(enc.Fields)) {
		out = append(out, k, enc.Fields[k])
	}
	return out
}
