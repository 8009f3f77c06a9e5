package server

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/signed"
)

// Polls implements ballotapi.Reader.
func (s *Server) Polls(ctx context.Context) ([]poll.Summary, error) {
	all, err := s.AllPolls(ctx)
	return slices.DeleteFunc(all, func(p poll.Summary) bool { return p.State == poll.Draft }), err
}

// AllPolls implements ballotapi.Admin.
func (s *Server) AllPolls(ctx context.Context) ([]poll.Summary, error) {
	if s.shared {
		_ = s.catchUp(ctx) // while the database cannot be read, what is remembered has to do
	}
	for _, id := range s.cache.due(s.clock()) {
		if err := s.closeDue(ctx, id); err != nil {
			return nil, err
		}
	}
	all := s.cache.all()
	slices.SortFunc(all, func(a, b known) int { return cmp.Compare(b.no, a.no) })
	out := make([]poll.Summary, len(all))
	for i, k := range all {
		m := &k.manifest
		out[i] = poll.Summary{ID: m.ID, Title: m.Title, State: m.State, Kind: m.Kind, OpensAt: m.OpensAt, ClosesAt: m.ClosesAt}
	}
	return out, nil
}

// Manifest implements ballotapi.Reader. Its state is the one in force: a poll whose closing time has
// come is closed in it, whether or not the ticker has been there. An open poll takes ballots from
// opens_at on.
func (s *Server) Manifest(ctx context.Context, id string) (signed.Document, error) {
	k, err := s.known(ctx, id)
	return k.document, err
}

// turnout adds up a poll's counters.
func (s *Server) turnout(ctx context.Context, no int64) (total int64, byChannel map[ballotapi.Channel]int64, minutes []ballotapi.MinuteCount, err error) {
	rows, err := s.store.Turnout(ctx, no)
	if err != nil {
		return 0, nil, nil, err
	}
	byChannel = map[ballotapi.Channel]int64{}
	minutes = []ballotapi.MinuteCount{}
	for _, r := range rows {
		minute := time.Unix(r.Minute*60, 0).UTC()
		if n := len(minutes); n == 0 || !minutes[n-1].Minute.Equal(minute) {
			minutes = append(minutes, ballotapi.MinuteCount{Minute: minute, ByChannel: map[ballotapi.Channel]int64{}})
		}
		channel := ballotapi.Channel(r.Channel)
		minutes[len(minutes)-1].ByChannel[channel] += r.Ballots
		byChannel[channel] += r.Ballots
		total += r.Ballots
	}
	return total, byChannel, minutes, nil
}
