package wire

import (
	"strconv"
	"testing"
	"time"
)

func TestAFloodOfCallsTakesNoMoreMemory(t *testing.T) {
	r := NewReplay(func() time.Time { return time.Time{} })
	r.most = 100
	for i := range 1000 {
		r.Begin(strconv.Itoa(i))
		r.End(strconv.Itoa(i), true)
	}
	if len(r.known) != 100 || len(r.order) != 100 || cap(r.order) > 400 {
		t.Errorf("%d known, %d of %d in order", len(r.known), len(r.order), cap(r.order))
	}
	if r.Begin("899") != Unseen || r.Begin("900") != Done || r.Begin("999") != Done {
		t.Error("it is not the latest that are remembered")
	}
}
