package systemd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/unit"
)

const (
	// unitDir is where our unit files are: gone with a reboot, and below the administrator's /etc.
	unitDir = "/run/systemd/system"
	// stateDir holds what has to outlive the agent but not the machine's run.
	stateDir = "/run/argosy/systemd"

	// mark begins every file of ours, followed by the hash of the unit.
	mark = "# Written by Argosy, which refuses to start it if it is changed. Unit "

	// pinName is the target that keeps our units in PID 1's memory (see pin).
	pinName = "argosy-units.target"
	dropIn  = "50-argosy.conf"
)

// ownFiles lists the units in unitDir that carry our mark, with their hashes.
func ownFiles() (map[string]string, error) {
	entries, err := os.ReadDir(unitDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, e := range entries {
		name, err := unit.ParseName(e.Name())
		if err != nil || e.Name() == pinName || !e.Type().IsRegular() {
			continue
		}
		if hash, ok := markOf(filepath.Join(unitDir, e.Name())); ok {
			out[string(name)] = hash
		}
	}
	return out, nil
}

// markOf reads the hash from a file's first line; ok is false when the file is not ours.
func markOf(path string) (hash string, ok bool) {
	f, err := os.Open(path)
	if err != nil {
		return "", false
	}
	defer func() { _ = f.Close() }() // Only read.
	head := make([]byte, 512)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return "", false
	}
	line, _, _ := bytes.Cut(head[:n], []byte("\n"))
	return strings.CutPrefix(string(line), mark)
}

// fileText is the file of a unit: the mark and the canonical text, never a byte that was not parsed.
func fileText(u *unit.Unit) []byte {
	return append([]byte(mark+u.Hash()+"\n"), u.Render()...)
}

// writeFile puts a file in place at once: a reader sees the old one or the new one. It tells whether anything changed.
func writeFile(path string, content []byte) (changed bool, err error) {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, content) {
		return false, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return false, err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".argosy-*")
	if err != nil {
		return false, err
	}
	_, err = tmp.Write(content)
	err = errors.Join(err, tmp.Chmod(0o644), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return false, errors.Join(err, os.Remove(tmp.Name()))
	}
	return true, nil
}

// takenBy looks for a unit of this name, or for the template of an instance, that is not ours, in the folders
// that PID 1 reads. It gives the path, or "".
func takenBy(name unit.Name, dirs []string) string {
	names := []string{string(name)}
	if name.IsInstance() {
		names = append(names, string(name.Template()))
	}
	for _, dir := range dirs {
		for _, n := range names {
			path := filepath.Join(dir, n)
			if _, err := os.Lstat(path); err != nil {
				continue
			}
			if _, ours := markOf(path); !ours || dir != unitDir {
				return path
			}
		}
	}
	return ""
}

// write puts a unit's file, and its hook where the machine needs one, under unitDir.
func (r *Runtime) write(u *unit.Unit) (changed bool, err error) {
	name := string(u.Name)
	changed, err = writeFile(filepath.Join(unitDir, name), fileText(u))
	if err != nil {
		return false, writeRefused(filepath.Join(unitDir, name), err)
	}
	hook := filepath.Join(unitDir, name+".d", dropIn)
	if text := r.cg.hookText(u); text != nil {
		more, err := writeFile(hook, text)
		if err != nil {
			return changed, writeRefused(hook, err)
		}
		return changed || more, nil
	}
	return changed, nil
}

func writeRefused(path string, err error) error {
	return reason.Because(reason.CannotStart, reason.Args{"error": fmt.Sprintf("write %s: %v", path, err)})
}

// removeFiles takes a unit's files away.
func removeFiles(name string) error {
	path := filepath.Join(unitDir, name)
	if _, ours := markOf(path); ours {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	_ = os.Remove(filepath.Join(path+".d", dropIn))
	_ = os.Remove(path + ".d") // Stays when somebody else has put something there.
	return errors.Join(removeIfThere(startedFile(name)), removeIfThere(loadedFile(name)), removeIfThere(oomFile(name)))
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// startedFile's time is that of the last start order; it outlives the agent.
func startedFile(name string) string { return filepath.Join(stateDir, "started", name) }

// loadedFile's time is that of the first load.
func loadedFile(name string) string { return filepath.Join(stateDir, "loaded", name) }

// timeOf is when a file was written; zero when it is not there.
func timeOf(path string) time.Time {
	st, err := os.Stat(path)
	if err != nil {
		return time.Time{}
	}
	return st.ModTime()
}

// pinText is a target that names all our units. PID 1 forgets an inactive unit that nobody mentions, and with it how
// its last run ended; After= of an active target is such a mention and does nothing else.
func pinText(names []string) []byte {
	var b bytes.Buffer
	b.WriteString(mark + "pin\n[Unit]\nDescription=Units that Argosy keeps\nDefaultDependencies=no\n")
	for _, n := range names {
		b.WriteString("After=" + n + "\n")
	}
	return b.Bytes()
}
