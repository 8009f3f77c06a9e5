package server

import (
	"bytes"
	"encoding/json"
	"testing"

	"pgregory.net/rapid"

	"github.com/popvote/popvote/libs/ballotapi"
)

// TestAReceiptIsWrittenAsEncodingJSONWouldWriteIt, whatever is in it.
func TestAReceiptIsWrittenAsEncodingJSONWouldWriteIt(t *testing.T) {
	text := rapid.OneOf(rapid.StringMatching(`[A-Za-z0-9._-]*`), rapid.String())
	hash := rapid.SliceOfN(rapid.Byte(), 0, 40)
	rapid.Check(t, func(t *rapid.T) {
		r := recorded{&ballotapi.Receipt{
			Poll: text.Draw(t, "poll"), Code: text.Draw(t, "code"), Leaf: hash.Draw(t, "leaf"), Index: rapid.Int64().Draw(t, "index"),
			Path: rapid.SliceOf(hash).Draw(t, "path"), Batch: text.Draw(t, "batch"),
		}}
		got, err := r.json()
		if err != nil {
			t.Fatal(err)
		}
		want, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("%s, want %s", got, want)
		}
	})
	for _, r := range []recorded{{}, {&ballotapi.Receipt{}}, {&ballotapi.Receipt{Leaf: []byte{1}, Path: [][]byte{nil, {}}}}} {
		got, err := r.json()
		if want, _ := json.Marshal(r); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s, %v; want %s", got, err, want)
		}
	}
}
