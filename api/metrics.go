package api

import (
	"net/http"
	"runtime/debug"
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
	m.show = promhttp.HandlerFor(a.Metrics, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
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
	d := desc("unit_state", "Units in each state.", "state")
	for _, s := range cluster.States() {
		gauge(d, float64(states[s]), string(s))
	}
	d = desc("units", "Units for each reason of their state.", "reason")
	for _, code := range reason.Codes() {
		if n := reasons[code]; n > 0 {
			gauge(d, float64(n), string(code))
		}
	}
	gauge(desc("api_watches", "Open watches."), float64(c.api.hub.watches()))
	c.machines(gauge)
}

func (c *collector) machines(gauge func(d *prometheus.Desc, v float64, labels ...string)) {
	select {
	case <-c.api.hub.ready:
	default:
		return
	}
	up := desc("machine_up", "1 when the machine is heard of.", "machine")
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
		alive := 0.0
		if m.Alive {
			alive = 1
		}
		gauge(up, alive, m.Name)
		gauge(units, float64(m.Units), m.Name)
		for i := range allocatable {
			gauge(allocatable[i].d, allocatable[i].get(m.Allocatable.CPU, m.Allocatable.Memory, m.Allocatable.Disk), m.Name)
			gauge(requested[i].d, requested[i].get(m.Promised.CPU, m.Promised.Memory, m.Promised.Disk), m.Name)
		}
	}
}

// goVersion is the toolchain's, as the binary says.
func goVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.GoVersion
	}
	return "unknown"
}
