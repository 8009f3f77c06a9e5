package server

import (
	"context"
	"slices"
	"time"

	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/signed"
)

// tookLimits are the upper bounds of the time-to-vote histogram in seconds: finer around the three
// minutes that voters have to prove their phone.
var tookLimits = []int{30, 60, 90, 120, 180, 240, 300, 420, 600, 900, 1800, 3600}

// tookBucket is the bucket of a time; 0 for longer than all limits.
func tookBucket(took time.Duration) int {
	i, _ := slices.BinarySearchFunc(tookLimits, took, func(limit int, took time.Duration) int {
		return int(time.Duration(limit)*time.Second - took)
	})
	if i == len(tookLimits) {
		return 0
	}
	return tookLimits[i]
}

// Turnout implements ballotapi.Reader.
func (s *Server) Turnout(ctx context.Context, id string) (signed.Document, error) {
	k, err := s.known(ctx, id)
	if err != nil {
		return signed.Document{}, err
	}
	asOf := s.clock().UTC().Truncate(time.Minute)
	total, byChannel, minutes, err := s.turnout(ctx, k.no)
	if err != nil {
		return signed.Document{}, err
	}
	t := ballotapi.Turnout{Poll: id, AsOf: asOf, Total: total, ByChannel: byChannel, ByHour: []ballotapi.HourCount{}}
	for _, m := range minutes {
		hour := m.Minute.Truncate(time.Hour)
		if n := len(t.ByHour); n == 0 || !t.ByHour[n-1].Hour.Equal(hour) {
			t.ByHour = append(t.ByHour, ballotapi.HourCount{Hour: hour})
		}
		for _, ballots := range m.ByChannel {
			t.ByHour[len(t.ByHour)-1].Count += ballots
		}
	}
	return s.signer.Sign(t)
}

// Stats implements ballotapi.Admin.
func (s *Server) Stats(ctx context.Context, id string) (ballotapi.Stats, error) {
	k, err := s.known(ctx, id)
	if err != nil {
		return ballotapi.Stats{}, err
	}
	p, err := s.store.Poll(ctx, id)
	if err != nil {
		return ballotapi.Stats{}, err
	}
	out := ballotapi.Stats{Poll: id, At: s.clock().UTC(), State: k.manifest.State, PeakSecond: p.Peak, Count: s.progress.get(id)}
	if p.Peak > 0 {
		out.PeakAt = time.UnixMilli(p.PeakAt).UTC()
	}
	if out.Total, out.ByChannel, out.PerMinute, err = s.turnout(ctx, k.no); err != nil {
		return ballotapi.Stats{}, err
	}
	took, err := s.store.Took(ctx, k.no)
	if err != nil {
		return ballotapi.Stats{}, err
	}
	for _, limit := range append(slices.Clone(tookLimits), 0) {
		out.Took = append(out.Took, ballotapi.TookBucket{UpTo: limit, Count: took[limit]})
	}
	out.RateNow, out.Refused = s.live.snapshot(id)
	if out.Count == nil && counted(out.State) {
		out.Count = &ballotapi.CountProgress{Done: p.LogSize, Total: p.LogSize}
	}
	return out, nil
}
