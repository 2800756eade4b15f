package systemd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/unit"
)

// Load writes a unit's canonical text where PID 1 finds it; PID 1 reads it at the next Settle. It refuses a name that
// the machine has from elsewhere, and warns of limits that this machine does not enforce.
func (r *Runtime) Load(ctx context.Context, u *unit.Unit) ([]unit.Warning, error) {
	name := string(u.Name)
	if !slices.Contains(r.Types(), u.Name.Type()) {
		return nil, reason.Because(reason.Unsupported, reason.Args{"what": "systemd has no ." + u.Name.Type() + " units that a file can describe"})
	}
	dirs, err := r.unitPath(ctx)
	if err != nil {
		return nil, err
	}
	path := takenBy(u.Name, dirs)
	if path == "" {
		if path, err = r.madeElsewhere(ctx, name); err != nil {
			return nil, err
		}
	}
	if path != "" {
		return nil, reason.Because(reason.NameTaken, reason.Args{"unit": name, "path": path})
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	changed, err := r.write(u)
	if err != nil {
		return nil, err
	}
	l := r.units[name]
	if l == nil {
		if err := os.WriteFile(loadedFile(name), nil, 0o600); err != nil {
			return nil, writeRefused(loadedFile(name), err)
		}
		l = &loaded{name: name, since: timeOf(loadedFile(name))}
		r.units[name] = l
		r.reload = true // For the pin.
	}
	l.unit, l.hash, l.news = u, u.Hash(), true
	r.reload = r.reload || changed
	return r.cg.notEnforced(u), nil
}

// madeElsewhere tells where PID 1 has a unit of this name from, when that is not our file; "" when it has none.
// Some kinds need no file at all: mounts that are there, slices that others are in.
func (r *Runtime) madeElsewhere(ctx context.Context, name string) (string, error) {
	switch unit.Name(name).Type() {
	case "service", "timer", "socket", "path": // Not without a file in one of the folders that were looked at.
		return "", nil
	}
	var rows []row
	if err := r.bus.call(ctx, "ListUnitsByNames", []any{[]string{name}}, &rows); err != nil {
		return "", fmt.Errorf("look for %s: %w", name, err)
	}
	if len(rows) == 0 || rows[0].Load != "loaded" {
		return "", nil
	}
	var path string
	if err := r.bus.callOn(ctx, unitPath(name), propsIface+".Get", []any{unitIface, "FragmentPath"}, &path); err != nil {
		return "", fmt.Errorf("look for %s: %w", name, err)
	}
	switch path {
	case filepath.Join(unitDir, name):
		return "", nil
	case "":
		return "systemd itself (it has no file)", nil
	}
	return path, nil
}

// unitPath lists the folders that PID 1 reads unit files from. They are asked for once in a group of loads.
func (r *Runtime) unitPath(ctx context.Context) ([]string, error) {
	r.mu.Lock()
	dirs := r.dirs
	r.mu.Unlock()
	if dirs != nil {
		return dirs, nil
	}
	if err := r.bus.callOn(ctx, managerPath, propsIface+".Get", []any{managerIface, "UnitPath"}, &dirs); err != nil {
		return nil, fmt.Errorf("ask systemd for its unit path: %w", err)
	}
	r.mu.Lock()
	r.dirs = dirs
	r.mu.Unlock()
	return dirs, nil
}

// Settle lets PID 1 read what was loaded and unloaded: one daemon-reload for all of it, and none for nothing.
func (r *Runtime) Settle(ctx context.Context) error {
	r.mu.Lock()
	if !r.reload {
		r.mu.Unlock()
		return nil
	}
	names := slices.Sorted(maps.Keys(r.units))
	r.reload = false // What is loaded from here on needs a reload of its own.
	r.mu.Unlock()

	err := r.reloadPID1(ctx, names)
	r.mu.Lock()
	r.allNews, r.dirs = true, nil
	r.reload = r.reload || err != nil
	r.mu.Unlock()
	r.signal()
	return err
}

func (r *Runtime) reloadPID1(ctx context.Context, names []string) error {
	pin, method := filepath.Join(unitDir, pinName), "StartUnit"
	if len(names) == 0 { // Nothing is left to be kept.
		method = "StopUnit"
		if err := removeIfThere(pin); err != nil {
			return fmt.Errorf("remove %s: %w", pin, err)
		}
	} else if _, err := writeFile(pin, pinText(names)); err != nil {
		return writeRefused(pin, err)
	}
	if err := r.bus.call(ctx, "Reload", nil); err != nil {
		return fmt.Errorf("systemd daemon-reload: %w", err)
	}
	if err := r.bus.call(ctx, method, []any{pinName, "replace"}, new(any)); err != nil && !isBusError(err, "NoSuchUnit") {
		return fmt.Errorf("%s %s: %w", method, pinName, err)
	}
	return nil
}

// Unload takes a unit's file away. One that is up is refused: it would run on without an owner.
func (r *Runtime) Unload(ctx context.Context, name string) error {
	if _, err := r.find(name); err != nil {
		return nil // What is not there is unloaded.
	}
	p, err := r.bus.properties(ctx, name, unitIface)
	if err != nil && !isBusError(err, "NoSuchUnit") {
		return err
	}
	if s := p.text("ActiveState"); p != nil && s != "inactive" && s != "failed" {
		return fmt.Errorf("unload %s: it is %s", name, s)
	}
	if p.text("ActiveState") == "failed" { // PID 1 keeps a failed unit even when its file is gone.
		if err := r.bus.call(ctx, "ResetFailedUnit", []any{name}); err != nil && !isBusError(err, "NoSuchUnit") {
			return fmt.Errorf("unload %s: %w", name, err)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := removeFiles(name); err != nil {
		return fmt.Errorf("unload %s: %w", name, err)
	}
	delete(r.units, name)
	r.reload = true
	return nil
}

// model gives the typed unit, from the file when an earlier agent has loaded it. It refuses a file that was changed.
func (r *Runtime) model(l *loaded) (*unit.Unit, error) {
	r.mu.Lock()
	u, hash := l.unit, l.hash
	r.mu.Unlock()
	path := filepath.Join(unitDir, l.name)
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, reason.Because(reason.PropertyDiffers, reason.Args{"property": "FragmentPath", "want": path, "have": "no file"})
	}
	if err != nil {
		return nil, fmt.Errorf("read back %s: %w", path, err)
	}
	if u == nil {
		if u, err = unit.Load(unit.Name(l.name), content, nil, r.host); err != nil {
			return nil, fmt.Errorf("read back %s: %w", path, err)
		}
	}
	if !bytes.Equal(content, fileText(u)) {
		return nil, reason.Because(reason.PropertyDiffers, reason.Args{"property": "text of " + path, "want": "hash " + hash, "have": "another text"})
	}
	r.mu.Lock()
	l.unit = u
	r.mu.Unlock()
	return u, nil
}
