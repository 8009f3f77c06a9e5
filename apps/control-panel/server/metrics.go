package server

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	logins  *prometheus.CounterVec
	notices *prometheus.CounterVec
	streams prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) metrics {
	m := metrics{
		logins: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "panel_logins_total", Help: "Log-ins, by outcome (ok, refused: of links; passkey, passkey_refused).",
		}, []string{"outcome"}),
		notices: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "panel_notices_total", Help: "What operators were told of, by kind: refused log-ins, new devices, passkeys and links made.",
		}, []string{"kind"}),
		streams: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "panel_streams", Help: "Pages that watch the live numbers now.",
		}),
	}
	if reg != nil {
		reg.MustRegister(m.logins, m.notices, m.streams)
	}
	return m
}
