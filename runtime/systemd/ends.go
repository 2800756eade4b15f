package systemd

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/unit"
)

// exitsOf are the ends that the properties know: the last one of the main process, and failed ones of the other
// commands of the present run.
func exitsOf(d details, sp props) []cluster.Exit {
	var out []cluster.Exit
	if x, ok := mainEnd(sp); ok && d.Invocation != "" {
		x.Invocation, x.Path = d.Invocation, d.paths["ExecStart"]
		x.OOM = x.Signal == sigKILL && d.Result == "oom-kill"
		x.Success = cleanEnd(x, d.Result)
		out = append(out, x)
	}
	for _, directive := range execDirectives() {
		if directive == "ExecStart" {
			continue
		}
		for _, x := range commandEnds(directive, sp) {
			x.Invocation = d.Invocation
			out = append(out, x)
		}
	}
	return out
}

// mainEnd is the end of the last main process; ok is false while it runs and before the first.
func mainEnd(sp props) (x cluster.Exit, ok bool) {
	began, ended := sp.time("ExecMainStartTimestamp"), sp.time("ExecMainExitTimestamp")
	if ended.IsZero() || ended.Before(began) {
		return x, false
	}
	x = cluster.Exit{At: ended, Directive: "ExecStart", Uptime: ended.Sub(began)}
	setEnd(&x, int(sp.number("ExecMainCode")), int(sp.number("ExecMainStatus")))
	return x, true
}

// commandEnds are the failed ends in an Exec… property, a(sasbttttuii).
func commandEnds(directive string, sp props) []cluster.Exit {
	rows, _ := sp.value(directive).([][]any)
	var out []cluster.Exit
	for _, row := range rows {
		if len(row) < 10 {
			continue
		}
		ignore, _ := row[2].(bool)
		began, _ := row[3].(uint64)
		ended, _ := row[5].(uint64)
		code, _ := row[8].(int32)
		status, _ := row[9].(int32)
		if ended == 0 || ended < began || ignore || code == cldExited && status == 0 {
			continue
		}
		x := cluster.Exit{At: wallTime(int64(ended)), Directive: directive, Path: text(row[0]), Uptime: wallTime(int64(ended)).Sub(wallTime(int64(began)))}
		setEnd(&x, int(code), int(status))
		out = append(out, x)
	}
	return out
}

// startError is the refusal of the last start that had no process to blame.
func (r *Runtime) startError(u *loaded, p, sp props) *reason.Reason {
	switch {
	case sp.text("Result") == "resources":
		if m, err := r.model(u); err == nil && m.Service != nil {
			return resourceError(m)
		}
	case p.text("ActiveState") == "inactive" && !p.time("ConditionTimestamp").IsZero() && !p.flag("ConditionResult"):
		return conditionError(p.value("Conditions"), "Condition")
	case p.text("ActiveState") == "inactive" && !p.time("AssertTimestamp").IsZero() && !p.flag("AssertResult"):
		return conditionError(p.value("Asserts"), "Assert")
	}
	return nil
}

// resourceError looks for what PID 1 could not read. It says "resources" for all of it.
func resourceError(u *unit.Unit) *reason.Reason {
	for _, f := range u.Service.Exec.EnvironmentFiles {
		if f.Optional {
			continue
		}
		matches, err := filepath.Glob(f.Path)
		if err == nil && len(matches) == 0 {
			return reason.Because(reason.ConfigMissing, reason.Args{"path": f.Path, "error": "no such file or directory"})
		}
		for _, m := range matches {
			if _, err := os.ReadFile(m); err != nil {
				return reason.Because(reason.ConfigMissing, reason.Args{"path": f.Path, "error": cause(err)})
			}
		}
	}
	return reason.Because(reason.CannotStart, reason.Args{"error": "systemd says \"resources\": something that the start needs could not be set up; argosy journal has its words"})
}

func cause(err error) string {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err.Error()
	}
	return err.Error()
}

// conditionError names the first condition that does not hold, of a(sbbsi): kind, trigger, negate, parameter, state.
func conditionError(v any, kind string) *reason.Reason {
	rows, _ := v.([][]any)
	for _, row := range rows {
		if len(row) < 5 {
			continue
		}
		if state, _ := row[4].(int32); state >= 0 {
			continue
		}
		not := ""
		if negate, _ := row[2].(bool); negate {
			not = "!"
		}
		return reason.Because(reason.ConditionFailed, reason.Args{"condition": text(row[0]) + "=" + not + text(row[3])})
	}
	return reason.Because(reason.ConditionFailed, reason.Args{"condition": kind + "…="})
}

// setupError tells which step failed before the program began, from systemd's exit statuses 200 to 243
// (systemd.exec(5)); nil for all others.
func setupError(u *unit.Unit, x cluster.Exit) *reason.Reason {
	if x.Signal != 0 || x.Status < 200 || x.Status > 243 || u == nil || u.Service == nil {
		return nil
	}
	e := u.Service.Exec
	switch x.Status {
	case 200:
		return reason.Because(reason.DirectoryMissing, reason.Args{"path": e.WorkingDirectory})
	case 203:
		return execError(x.Path, x.Directive)
	case 216:
		return reason.Because(reason.GroupMissing, reason.Args{"group": strings.Join(append([]string{e.Group}, e.SupplementaryGroups...), " ")})
	case 217:
		return reason.Because(reason.UserMissing, reason.Args{"user": e.User})
	case 243:
		return reason.Because(reason.SecretMissing, reason.Args{"credential": missingCredential(e.Credentials)})
	}
	return nil
}

func execError(path, directive string) *reason.Reason {
	st, err := os.Stat(path)
	switch {
	case err == nil && (st.IsDir() || st.Mode()&0o111 == 0):
		return reason.Because(reason.Permission, reason.Args{"path": path})
	case errors.Is(err, fs.ErrPermission):
		return reason.Because(reason.Permission, reason.Args{"path": path, "error": cause(err)})
	}
	return reason.Because(reason.ExecNotFound, reason.Args{"path": path, "directive": directive}) // Or its interpreter is not there.
}

func missingCredential(list []unit.Credential) string {
	for _, c := range list {
		if _, err := os.Stat(c.Path); !c.Set && err != nil {
			return c.ID
		}
	}
	if len(list) > 0 {
		return list[0].ID
	}
	return "?"
}
