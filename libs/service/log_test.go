package service

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// TestLogsAreInUTC, whatever the machine's zone; a time that is told keeps its own.
func TestLogsAreInUTC(t *testing.T) {
	at := time.Date(2026, time.November, 24, 3, 42, 0, 0, time.FixedZone("HKT", 8*60*60))
	for format, want := range map[string]string{"json": `"time":"2026-11-23T19:42:00Z"`, "text": "time=2026-11-23T19:42:00.000Z"} {
		var out bytes.Buffer
		log, err := NewLogger(&out, "x", LogConfig{"info", format})
		if err != nil {
			t.Fatal(err)
		}
		line := slog.NewRecord(at, slog.LevelInfo, "seen", 0)
		line.AddAttrs(slog.Time("deadline", at))
		if err := log.Handler().Handle(t.Context(), line); err != nil {
			t.Fatal(err)
		}
		if got := out.String(); !strings.Contains(got, want) || !strings.Contains(got, "03:42:00") {
			t.Errorf("%s: %s, want %s", format, got, want)
		}
	}
}
