package verification

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/popvote/popvote/libs/sms"
)

// TestTheMapOfThingsThatEnd holds the bounded map to a plain model.
func TestTheMapOfThingsThatEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const bound = 8
		e := newExpiring[string, int](bound)
		ends := map[string]time.Time{}
		now := time.Unix(0, 0)
		for i := range rapid.IntRange(1, 200).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "wait")) * time.Second)
			key := fmt.Sprint(rapid.IntRange(0, 20).Draw(t, "key"))
			if rapid.Bool().Draw(t, "put") {
				ends[key] = now.Add(time.Duration(rapid.IntRange(1, 10).Draw(t, "ttl")) * time.Second)
				e.put(key, i, ends[key], now)
			} else if _, ok := e.get(key, now); ok && !now.Before(ends[key]) {
				t.Fatalf("%s is there after its end", key)
			}
			if len(e.entries) > bound || len(e.entries) != len(e.order) {
				t.Fatalf("%d entries, %d in order", len(e.entries), len(e.order))
			}
			living := 0
			for _, end := range ends {
				if now.Before(end) {
					living++
				}
			}
			if living <= 1 && len(ends) > 0 && now.Before(ends[key]) {
				if _, ok := e.get(key, now); !ok {
					t.Fatalf("%s is gone before its end, with room to spare", key)
				}
			}
			for place, entry := range e.order {
				if entry.place != place || e.entries[entry.key] != entry {
					t.Fatal("the order and the map differ")
				}
			}
		}
	})
}

func TestKeysBindSenderAndText(t *testing.T) {
	secret := [32]byte{1}
	key := KeyOf(secret, "+85291234567", "VOTE 7ZK49QWE")
	for _, other := range []Key{
		KeyOf(secret, "+85291234568", "VOTE 7ZK49QWE"),
		KeyOf(secret, "+85291234567", "VOTE 7ZK49QWF"),
		KeyOf([32]byte{2}, "+85291234567", "VOTE 7ZK49QWE"),
		KeyOf(secret, sms.Number("+85291234567\x00VOTE"), " 7ZK49QWE"),
	} {
		if key == other {
			t.Error("two of them have one key")
		}
	}
	text, err := key.MarshalText()
	var back Key
	if err != nil || back.UnmarshalText(text) != nil || back != key {
		t.Errorf("%s, %v", text, err)
	}
	if back.UnmarshalText([]byte("short")) == nil {
		t.Error("a short key is read")
	}
}
