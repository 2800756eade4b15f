package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
	"argosy.dev/argosy/unit"
	"argosy.dev/argosy/wire"
)

// readBody decodes a JSON body: one value of known fields and nothing behind it.
func readBody(r *http.Request, v any) error {
	if !isJSON(r.Header.Get("Content-Type")) {
		return withStatus{badRequest(fmt.Sprintf("Content-Type is %q, not application/json", r.Header.Get("Content-Type"))), http.StatusUnsupportedMediaType}
	}
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	err := dec.Decode(v)
	if err == nil {
		if _, more := dec.Token(); more != io.EOF {
			err = errors.New("something stands behind it")
		}
	}
	if big, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return reason.Because(reason.TooLarge, reason.Args{"what": "bytes of the request", "need": "it", "have": big.Limit})
	}
	if err != nil {
		return badRequest("the body is not what this call takes: " + err.Error())
	}
	heard(r.Context(), v)
	return nil
}

// unitName checks a name that comes from outside. It has to have its suffix.
func unitName(s string) (unit.Name, error) {
	n, err := unit.ParseName(s)
	if err == nil {
		return n, nil
	}
	if _, ok := errors.AsType[*reason.Reason](err); ok {
		return "", err
	}
	return "", reason.Because(reason.NameInvalid, reason.Args{"unit": s, "error": err.Error()})
}

// pathName is the {name} of a path; without a suffix it is a service.
func pathName(r *http.Request) (unit.Name, error) {
	s := r.PathValue("name")
	if strings.Contains(s, "/") { // Mangle would take the last part of a path: right for arguments, wrong here.
		return "", reason.Because(reason.NameInvalid, reason.Args{"unit": s, "error": "it holds a slash"})
	}
	return unit.Mangle(s)
}

// listUnits is GET /v1/units.
func (a *API) listUnits(w http.ResponseWriter, r *http.Request) error {
	m, err := matcherOf(r.URL.Query())
	if err != nil {
		return err
	}
	if err := a.read(r.Context()); err != nil {
		return err
	}
	units, revision := a.hub.list(m)
	return writeJSON(w, http.StatusOK, wire.UnitList{Revision: revision, Units: units})
}

// getUnit is GET /v1/units/{name}.
func (a *API) getUnit(w http.ResponseWriter, r *http.Request) error {
	name, err := pathName(r)
	if err != nil {
		return err
	}
	if err := a.read(r.Context()); err != nil {
		return err
	}
	if r.URL.Query().Get("fresh") == "true" {
		if err := a.catchStore(r.Context(), string(name)); err != nil {
			return err
		}
	}
	var wish *cluster.Wanted
	d := wire.UnitDetail{}
	a.View.Peek(func(p *cluster.Picture) {
		wish = p.Units[string(name)]
		d.Answer, _ = p.Answer(string(name))
	})
	if wish == nil {
		return reason.Because(reason.NoSuchUnit, reason.Args{"unit": string(name)})
	}
	d.Text, d.DropIns, d.By, d.At = wish.Text, wish.DropIns, wish.By, wish.At
	if u, err := load(name, wish.Text, wish.DropIns); err == nil {
		d.Canonical, d.Hash, d.Demand, d.Warnings = string(u.Render()), u.Hash(), u.Demand(), u.Warnings
	} else { // An older version took it: it is shown all the same.
		for _, f := range allReasons(err) {
			d.Warnings = append(d.Warnings, unit.Warning{File: f.Str("file"), Line: int(f.Int("line")), Message: f.Message()})
		}
	}
	if s := d.Answer.Status; s != nil {
		d.Warnings = append(slices.Clip(d.Warnings), s.Warnings...)
	}
	w.Header().Set("ETag", etag(wish.Revision))
	return writeJSON(w, http.StatusOK, d)
}

func etag(revision int64) string { return `"` + strconv.FormatInt(revision, 10) + `"` }

// guard reads If-Match and If-None-Match: * into the revision that the unit must have.
func guard(r *http.Request) (*int64, error) {
	if r.Header.Get("If-None-Match") == "*" {
		return new(int64), nil
	}
	tag := r.Header.Get("If-Match")
	if tag == "" {
		return nil, nil
	}
	n, err := strconv.ParseInt(strings.Trim(strings.TrimPrefix(tag, "W/"), `"`), 10, 64)
	if err != nil || n < 0 {
		return nil, badRequest(fmt.Sprintf("If-Match %s is not an ETag of a unit", tag))
	}
	return &n, nil
}

// applyOne is a change of the one unit that the path names, with the guard of the headers.
func (a *API) applyOne(w http.ResponseWriter, r *http.Request, c wire.Change) error {
	expect, err := guard(r)
	if err != nil {
		return err
	}
	if expect != nil {
		c.Expect = expect
	}
	resp, err := a.apply(r.Context(), wire.ApplyRequest{Changes: []wire.Change{c}})
	if err != nil {
		if all := reasonsOf(err); expect != nil && all[0].Code == reason.Stale {
			return withStatus{err, http.StatusPreconditionFailed}
		}
		return err
	}
	one := resp.Units[0]
	status := http.StatusOK
	if one.Created {
		status = http.StatusCreated
	}
	if !c.Destroy {
		w.Header().Set("ETag", etag(one.Revision))
	}
	return writeJSON(w, status, one)
}

// putUnit is PUT /v1/units/{name}: a text that is sent replaces the present one.
func (a *API) putUnit(w http.ResponseWriter, r *http.Request) error {
	name, err := pathName(r)
	if err != nil {
		return err
	}
	var c wire.Change
	if err := readBody(r, &c); err != nil {
		return err
	}
	if c.Name != "" && c.Name != string(name) {
		return badRequest(fmt.Sprintf("the path names %s, the body %s", name, c.Name))
	}
	if c.Destroy {
		return badRequest("destroy is DELETE /v1/units/" + string(name))
	}
	c.Name, c.Replace = string(name), c.Text != nil
	return a.applyOne(w, r, c)
}

// deleteUnit is DELETE /v1/units/{name}.
func (a *API) deleteUnit(w http.ResponseWriter, r *http.Request) error {
	name, err := pathName(r)
	if err != nil {
		return err
	}
	return a.applyOne(w, r, wire.Change{Name: string(name), Destroy: true})
}
