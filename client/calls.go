package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"argosy.dev/argosy/wire"
)

// unitPath is the path of one unit. The name is escaped by net/url: it may hold any byte but a slash.
func unitPath(name string) string { return "/v1/units/" + name }

// Apply changes units: all changes in one transaction, or none.
func (c *Client) Apply(ctx context.Context, req wire.ApplyRequest) (*wire.ApplyResponse, error) {
	out := &wire.ApplyResponse{}
	return out, c.call(ctx, request{method: http.MethodPost, path: "/v1/units", body: req}, out)
}

// Units lists the present answers; only of the units that names (also globs) select, if there are any.
func (c *Client) Units(ctx context.Context, names ...string) (*wire.UnitList, error) {
	out := &wire.UnitList{}
	return out, c.call(ctx, request{method: http.MethodGet, path: "/v1/units", query: url.Values{"name": names}}, out)
}

// Unit gives one unit with its text, its model and its answer.
func (c *Client) Unit(ctx context.Context, name string) (*wire.UnitDetail, error) {
	out := &wire.UnitDetail{}
	return out, c.call(ctx, request{method: http.MethodGet, path: unitPath(name)}, out)
}

// Put changes one unit; a text that is sent replaces the present one. expect, when not nil, is the revision that
// the unit must have; 0: it must not exist.
func (c *Client) Put(ctx context.Context, change wire.Change, expect *int64) (*wire.Applied, error) {
	out := &wire.Applied{}
	return out, c.call(ctx, request{method: http.MethodPut, path: unitPath(change.Name), header: ifMatch(expect), body: change}, out)
}

// Destroy stops and forgets a unit; expect as in Put.
func (c *Client) Destroy(ctx context.Context, name string, expect *int64) (*wire.Applied, error) {
	out := &wire.Applied{}
	return out, c.call(ctx, request{method: http.MethodDelete, path: unitPath(name), header: ifMatch(expect)}, out)
}

func ifMatch(expect *int64) map[string]string {
	if expect == nil {
		return nil
	}
	return map[string]string{"If-Match": strconv.Quote(strconv.FormatInt(*expect, 10))}
}

// Why tells why a unit is as it is.
func (c *Client) Why(ctx context.Context, name string) (*wire.Why, error) {
	out := &wire.Why{}
	return out, c.call(ctx, request{method: http.MethodGet, path: unitPath(name) + "/why"}, out)
}

// Machines lists the machines.
func (c *Client) Machines(ctx context.Context) (*wire.MachineList, error) {
	out := &wire.MachineList{}
	return out, c.call(ctx, request{method: http.MethodGet, path: "/v1/machines"}, out)
}

// Machine gives one machine by id, short id or name.
func (c *Client) Machine(ctx context.Context, id string) (*wire.MachineDetail, error) {
	out := &wire.MachineDetail{}
	return out, c.call(ctx, request{method: http.MethodGet, path: "/v1/machines/" + id}, out)
}

// PatchMachine cordons a machine or sets its metadata.
func (c *Client) PatchMachine(ctx context.Context, id string, patch wire.MachinePatch) (*wire.MachineDetail, error) {
	out := &wire.MachineDetail{}
	return out, c.call(ctx, request{method: http.MethodPatch, path: "/v1/machines/" + id, body: patch}, out)
}

// RemoveMachine forgets a machine; force: also one that is alive.
func (c *Client) RemoveMachine(ctx context.Context, id string, force bool) (*wire.MachineDetail, error) {
	out := &wire.MachineDetail{}
	q := request{method: http.MethodDelete, path: "/v1/machines/" + id}
	if force {
		q.query = url.Values{"force": {"true"}}
	}
	return out, c.call(ctx, q, out)
}

// Plan says what would become of the units if.
func (c *Client) Plan(ctx context.Context, req wire.PlanRequest) (*wire.PlanAnswer, error) {
	out := &wire.PlanAnswer{}
	return out, c.call(ctx, request{method: http.MethodPost, path: "/v1/plan", body: req}, out)
}

// Events lists what happened after the event with number since; only of one unit if it is named; limit 0: the server's default.
func (c *Client) Events(ctx context.Context, since int64, unit string, limit int) (*wire.EventList, error) {
	out := &wire.EventList{}
	return out, c.call(ctx, request{method: http.MethodGet, path: "/v1/events", query: eventQuery(since, unit, limit)}, out)
}

func eventQuery(since int64, unit string, limit int) url.Values {
	q := url.Values{}
	if since > 0 {
		q.Set("since", strconv.FormatInt(since, 10))
	}
	if unit != "" {
		q.Set("unit", unit)
	}
	if limit > 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	return q
}

// Verify checks unit files, room included, and changes nothing.
func (c *Client) Verify(ctx context.Context, req wire.VerifyRequest) (*wire.VerifyResponse, error) {
	out := &wire.VerifyResponse{}
	return out, c.call(ctx, request{method: http.MethodPost, path: "/v1/verify", body: req}, out)
}

// Version tells the server's versions.
func (c *Client) Version(ctx context.Context) (*wire.VersionInfo, error) {
	out := &wire.VersionInfo{}
	return out, c.call(ctx, request{method: http.MethodGet, path: "/v1/version"}, out)
}

// Health tells whether the server can take changes. An unhealthy server answers too: then OK is false and err nil.
func (c *Client) Health(ctx context.Context) (*wire.HealthInfo, error) {
	out := &wire.HealthInfo{}
	err := c.call(ctx, request{method: http.MethodGet, path: "/v1/health", answers: http.StatusServiceUnavailable}, out)
	return out, err
}
