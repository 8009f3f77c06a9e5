package server

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"time"
)

// PartState is how a part is.
type PartState string

// Degraded still does its work, with less to fall back on; Down does not do it.
const (
	OK       PartState = "ok"
	Degraded PartState = "degraded"
	Down     PartState = "down"
)

// Part is one part of the system as an operator sees it.
type Part struct {
	// Name is the part's own: "api-server", "ballot-server", "sms-gateway".
	Name  string    `json:"name"`
	State PartState `json:"state"`
	// Note says in one plain sentence what is wrong and what that means; empty when all is well.
	Note    string `json:"note,omitempty"`
	Version string `json:"version,omitempty"`
	// Cloud is the provider's site, where there are several.
	Cloud string `json:"cloud,omitempty"`
	// Facts are the few numbers worth a glance, in order.
	Facts []Fact `json:"facts,omitempty"`
}

// Fact is one number of a part. The page has words for the names it knows: queue, queue_max,
// last_commit_ms, disk_free_bytes, schema, waiting, sessions, address, database, phone_network. Others are shown as they are.
type Fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

const ballotServer = "ballot-server"

// lowDisk is when a ballot server's free space becomes a worry: at about 1 kB a ballot in the
// database and its log, room for half a million more.
const lowDisk = 512 << 20

// allParts is what Deps.Parts says, and the ballot server as it says itself.
func (s *Server) allParts(ctx context.Context) []Part {
	var parts []Part
	if s.parts != nil {
		parts = slices.Clone(s.parts(ctx))
	}
	i := slices.IndexFunc(parts, func(p Part) bool { return p.Name == ballotServer })
	if i < 0 {
		parts = append(parts, Part{Name: ballotServer, State: OK})
		i = len(parts) - 1
	}
	s.askBallotServer(ctx, &parts[i])
	return parts
}

func (s *Server) askBallotServer(ctx context.Context, p *Part) {
	h, err := s.admin.Health(ctx)
	if err != nil {
		s.log.WarnContext(ctx, "ballot server did not answer", slog.Any("error", err))
		p.State, p.Note = Down, "The ballot server does not answer: no vote can be recorded."
		return
	}
	p.Version = h.Version
	p.Facts = []Fact{
		{"queue", strconv.Itoa(h.Queue)},
		{"queue_max", strconv.Itoa(h.QueueMax)},
		{"last_commit_ms", strconv.FormatFloat(float64(h.LastCommit)/float64(time.Millisecond), 'f', 1, 64)},
		{"disk_free_bytes", strconv.FormatInt(h.DiskFree, 10)},
		{"database", h.Database},
		{"schema", strconv.Itoa(h.Schema)},
	}
	switch {
	case p.State != OK:
	case h.QueueMax > 0 && h.Queue*10 >= h.QueueMax*9:
		p.State, p.Note = Degraded, fmt.Sprintf("The queue is nearly full (%d of %d): voters are about to be asked to try again.", h.Queue, h.QueueMax)
	case h.DiskFree > 0 && h.DiskFree < lowDisk:
		p.State, p.Note = Degraded, fmt.Sprintf("The disk has %d MB left. When it is full, no vote can be recorded.", h.DiskFree>>20)
	}
}
