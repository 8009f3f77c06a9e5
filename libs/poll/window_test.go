package poll_test

import (
	"strings"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/poll"
)

func TestTheAuditWindow(t *testing.T) {
	const day = 24 * time.Hour
	for _, c := range []struct {
		kind poll.Kind
		days int
		want time.Duration
	}{
		{poll.Public, 0, 90 * day},
		{poll.Rehearsal, 0, 90 * day},
		{poll.Demo, 0, 0},
		{poll.Public, 7, 7 * day},
		{poll.Demo, 7, 7 * day},
	} {
		d := poll.Definition{Kind: c.kind, AuditWindowDays: c.days}
		if got := d.AuditWindow(); got != c.want {
			t.Errorf("%s, %d days: %v, want %v", c.kind, c.days, got, c.want)
		}
	}

	file, err := poll.SampleFile("lunch")
	if err != nil {
		t.Fatal(err)
	}
	d, err := poll.Parse("lunch.yaml", append(file, "\naudit_window_days: 30\n"...))
	if err != nil || d.AuditWindowDays != 30 {
		t.Fatalf("%+v, %v", d, err)
	}
	// What the operator decided survives the manifest, from which the panel makes its drafts.
	m := poll.NewManifest(d, poll.Draft, 1, poll.JWK{}, "", 64)
	if got := m.Definition().AuditWindowDays; got != 30 {
		t.Errorf("the manifest says %d days", got)
	}
	for _, days := range []string{"-1", "3651"} {
		if _, err := poll.Parse("lunch.yaml", append(file, "\naudit_window_days: "+days+"\n"...)); err == nil || !strings.Contains(err.Error(), "audit_window_days: is "+days+"; it must be from 1 to 3650") {
			t.Errorf("%s days: %v", days, err)
		}
	}
}
