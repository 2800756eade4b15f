package api

import (
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/reason"
)

// metrics counts requests and shows the hub's counts.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	show     http.Handler
}

func newMetrics(a *API) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "argosy_api_requests_total", Help: "Requests answered, by call and HTTP status."}, []string{"call", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "argosy_api_request_duration_seconds", Help: "Time to answer, streams left out.",
			Buckets: []float64{.001, .005, .025, .1, .5, 2.5, 10},
		}, []string{"call"}),
	}
	for _, c := range []prometheus.Collector{m.requests, m.seconds, &collector{a}} {
		if err := a.Metrics.Register(c); err != nil {
			a.Log.Error("metrics are left out", "error", err)
		}
	}
	// What the libraries count (the store, the Go runtime, the process) is in the registry that they share.
	all := prometheus.Gatherers{a.Metrics, prometheus.DefaultGatherer}
	m.show = promhttp.HandlerFor(all, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
	return m
}

func (m *metrics) request(rt route, status int, took time.Duration) {
	call := rt.id
	if call == "" {
		call = "unknown"
	}
	m.requests.WithLabelValues(call, strconv.Itoa(status)).Inc()
	if !rt.stream {
		m.seconds.WithLabelValues(call).Observe(took.Seconds())
	}
}

// showMetrics is GET /metrics.
func (a *API) showMetrics(w http.ResponseWriter, r *http.Request) error {
	a.metrics.show.ServeHTTP(w, r)
	return nil
}

// collector shows the cluster: counts only, no unit has a label of its own, so their number is bounded.
type collector struct{ api *API }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("argosy_"+name, help, labels, nil)
}

// Describe gives nothing: the collector is unchecked, as its numbers come and go with the machines.
func (c *collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(desc("build_info", "Always 1.", "version", "go"), 1, c.api.Version, goVersion())
	states, reasons := c.api.hub.counts()
	d := desc("unit_state", "Units in each state of docs/states.md.", "state")
	for _, s := range cluster.States() {
		gauge(d, float64(states[s]), string(s))
	}
	d = desc("units", "Units for each reason of their state (docs/reasons.md); reasons that no unit has are left out.", "reason")
	for _, code := range reason.Codes() {
		if n := reasons[code]; n > 0 {
			gauge(d, float64(n), string(code))
		}
	}
	c.tally(out, c.api.hub.happened())
	gauge(desc("events_unwritten", "1 while events cannot be written to disk and are only kept in memory."), oneIf(c.api.mute.Load()))
	gauge(desc("api_watches", "Open watches."), float64(c.api.hub.watches()))
	c.machines(gauge)
}

// tally shows what has happened to units since this process began to look. Every reason has its line from the
// beginning: a counter that comes into being with its first count hides that one from increase().
func (c *collector) tally(out chan<- prometheus.Metric, t tally) {
	counter := func(d *prometheus.Desc, n int, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	counter(desc("unit_restarts_total", "Restarts of units by Restart=, of all units."), t.restarts)
	counter(desc("unit_oom_kills_total", "Processes of units killed for want of memory, as their cgroups counted them, of all units."), t.oomKills)
	d := desc("unit_failures_total", "How often a unit became failed, failing, crash-looping, unhealthy, lost or no-room, or so for another reason.", "reason")
	for _, code := range reason.Codes() {
		counter(d, t.failures[code], string(code))
	}
}

func (c *collector) machines(gauge func(d *prometheus.Desc, v float64, labels ...string)) {
	select {
	case <-c.api.hub.ready:
	default:
		return
	}
	up := desc("machine_up", "1 when the machine is heard of.", "machine")
	cordoned := desc("machine_cordoned", "1 when a person keeps new units away from the machine.", "machine")
	condition := desc("machine_condition", "1 for each condition that the machine tells of itself.", "machine", "condition")
	units := desc("machine_units", "Units placed on the machine.", "machine")
	type amount struct {
		d   *prometheus.Desc
		get func(cpu, memory, disk int64) float64
	}
	amounts := func(what, help string) []amount {
		return []amount{
			{desc("machine_cpu_"+what+"_cores", "Cores "+help, "machine"), func(cpu, _, _ int64) float64 { return float64(cpu) / 1000 }},
			{desc("machine_memory_"+what+"_bytes", "Memory "+help, "machine"), func(_, m, _ int64) float64 { return float64(m) }},
			{desc("machine_disk_"+what+"_bytes", "Disk "+help, "machine"), func(_, _, d int64) float64 { return float64(d) }},
		}
	}
	allocatable, requested := amounts("allocatable", "that may be promised to units."), amounts("requested", "promised to units.")
	for _, m := range c.api.machineList().Machines {
		gauge(up, oneIf(m.Alive), m.Name)
		gauge(cordoned, oneIf(m.Cordoned), m.Name)
		for _, k := range kinds(m.Conditions) {
			gauge(condition, 1, m.Name, k)
		}
		gauge(units, float64(m.Units), m.Name)
		for i := range allocatable {
			gauge(allocatable[i].d, allocatable[i].get(m.Allocatable.CPU, m.Allocatable.Memory, m.Allocatable.Disk), m.Name)
			gauge(requested[i].d, requested[i].get(m.Promised.CPU, m.Promised.Memory, m.Promised.Disk), m.Name)
		}
	}
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// kinds are the kinds of a machine's conditions, each once.
func kinds(list []cluster.Condition) []string {
	out := make([]string, 0, len(list))
	for _, c := range list {
		out = append(out, c.Kind)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// goVersion is the toolchain's, as the binary says.
func goVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.GoVersion
	}
	return "unknown"
}
