package service

import (
	"io"
	"net/http"
	"net/http/pprof"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// AdminHandler answers /livez (the process runs; depends on nothing), /readyz (it may be given work),
// /metrics and /version. It belongs on a listener of its own, never on the public one: readiness and
// metrics tell an attacker what works.
func AdminHandler(health *Health, metrics prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		_, _ = io.WriteString(w, "ok\n") // a prober that went away needs no answer
	})
	mux.HandleFunc("GET /readyz", health.serveReady)
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, Version())
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}))
	return mux
}

// Profiles adds Go's profiles at /debug/pprof/ to what an admin listener answers. Whoever reaches them can
// slow the process down.
func Profiles(admin http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", admin)
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

// NewMetrics returns a registry with what is known of every process: Go's runtime, the process, and
// popvote_build_info, 1 with the version of the service as labels.
func NewMetrics(service string) *prometheus.Registry {
	registry := prometheus.NewRegistry()
	built := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "popvote_build_info",
		Help: "1; its labels say what is running.",
		ConstLabels: prometheus.Labels{
			"service": service, "version": Version().Version, "revision": Version().Revision, "go": Version().Go,
		},
	})
	built.Set(1)
	registry.MustRegister(built,
		prometheus.NewGoCollector(),                                       //nolint:staticcheck // its new home, collectors, imports database/sql: banned here
		prometheus.NewProcessCollector(prometheus.ProcessCollectorOpts{})) //nolint:staticcheck // as above
	return registry
}
