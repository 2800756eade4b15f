package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/store"
	"argosy.dev/argosy/wire"
)

func settingsRoutes() []route {
	return []route{
		{method: "GET", path: "/v1/settings", id: "settings", rule: members, summary: "The cluster's settings", answer: cluster.Settings{}, handle: (*API).settings},
		{
			method: "PATCH", path: "/v1/settings", id: "patchSettings", rule: admins, summary: "Change the cluster's settings: what is left out stays",
			body: wire.SettingsPatch{}, answer: cluster.Settings{}, also: []int{400}, write: true, handle: (*API).patchSettings,
		},
	}
}

// settings is GET /v1/settings.
func (a *API) settings(w http.ResponseWriter, r *http.Request) error {
	if err := a.read(r.Context()); err != nil {
		return err
	}
	var s cluster.Settings
	a.View.Peek(func(p *cluster.Picture) { s = p.Settings })
	return writeJSON(w, http.StatusOK, s)
}

// patchSettings is PATCH /v1/settings.
func (a *API) patchSettings(w http.ResponseWriter, r *http.Request) error {
	var patch wire.SettingsPatch
	if err := readBody(r, &patch); err != nil {
		return err
	}
	if n := patch.Servers; n != nil && !slices.Contains([]int{0, 1, 3, 5}, *n) {
		return badRequest(fmt.Sprintf("%d servers: 1, 3 or 5 are; 0 is as many as there are, up to 5", *n))
	}
	all := []cluster.ConfigWrite{cluster.WriteAll, cluster.WriteServers, cluster.WriteNone}
	if c := patch.ConfigWrite; c != nil && !slices.Contains(all, *c) {
		return badRequest(fmt.Sprintf("config_write %q: all, servers and none are", *c))
	}
	var s cluster.Settings
	for try := 1; ; try++ {
		change, err := a.settingsChange(r.Context(), patch, &s)
		if err != nil {
			return err
		}
		revision, err := a.Store.Write(r.Context(), store.Writer{Role: store.Person, ID: peerOf(r.Context()).who}, change)
		if errors.Is(err, store.ErrStale) && try < maxApplyTries {
			continue
		}
		if err != nil {
			return err
		}
		short, cancel := context.WithTimeout(r.Context(), shownTimeout)
		defer cancel()
		_ = a.hub.wait(short, revision) // As in write.
		return writeJSON(w, http.StatusOK, s)
	}
}

// settingsChange reads the settings as they are now and patches them.
func (a *API) settingsChange(ctx context.Context, patch wire.SettingsPatch, s *cluster.Settings) (store.Change, error) {
	pic, err := a.Store.Read(ctx, cluster.SettingsKey())
	if err != nil {
		return store.Change{}, err
	}
	now, revision := cluster.NewPicture(), int64(0)
	for _, e := range pic.Entries {
		if _, err := now.Apply(e.Key, e.Value, e.Revision); err != nil {
			return store.Change{}, err
		}
		revision = e.Revision
	}
	*s = now.Settings
	if patch.Servers != nil {
		s.Servers = *patch.Servers
	}
	if patch.ConfigWrite != nil {
		s.ConfigWrite = *patch.ConfigWrite
	}
	if patch.Settle != nil && *patch.Settle {
		s.Restored = nil
	}
	return store.PutIf(cluster.SettingsKey(), *s, revision), nil
}

// settingsWords is what the audit log says about a change of settings.
func settingsWords(p wire.SettingsPatch) string {
	words := ""
	if p.Servers != nil {
		words = fmt.Sprintf("servers=%d ", *p.Servers)
	}
	if p.ConfigWrite != nil {
		words += "config-write=" + string(*p.ConfigWrite) + " "
	}
	if p.Settle != nil && *p.Settle {
		words += "settle after a restore"
	}
	return strings.TrimSpace(words)
}
