package service

import (
	"fmt"
	"io"
	"log/slog"
)

// LogConfig says what is logged and in what form.
type LogConfig struct {
	Level  string `koanf:"level" doc:"The least level that is logged: debug, info, warn or error."`
	Format string `koanf:"format" doc:"json, a line of JSON per event, for machines; or text, for people."`
}

// DefaultLog is what a service in a cluster uses.
func DefaultLog() LogConfig { return LogConfig{Level: "info", Format: "json"} }

// NewLogger returns the logger of a service; its name is on every line.
func NewLogger(w io.Writer, service string, config LogConfig) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(config.Level)); err != nil {
		return nil, fmt.Errorf("log.level is %q: want debug, info, warn or error", config.Level)
	}
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: inUTC}
	var handler slog.Handler
	switch config.Format {
	case "json":
		handler = slog.NewJSONHandler(w, options)
	case "text":
		handler = slog.NewTextHandler(w, options)
	default:
		return nil, fmt.Errorf("log.format is %q: want json or text", config.Format)
	}
	return slog.New(handler).With(slog.String("service", service)), nil
}

// inUTC has every line's time in one zone: those of several clouds are read side by side.
func inUTC(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey && a.Value.Kind() == slog.KindTime {
		a.Value = slog.TimeValue(a.Value.Time().UTC())
	}
	return a
}
