package keyring_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/keyring"
)

// holds reports whether a file, wherever it is linked, has a secret in it.
func holds(t *testing.T, path string, secret [32]byte) bool {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Contains(text, []byte(base64.StdEncoding.EncodeToString(secret[:])))
}

func files(t *testing.T, path string) []string {
	t.Helper()
	var names []string
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func secret(t *testing.T, f *keyring.File, p keyring.Purpose, scope string) [32]byte {
	t.Helper()
	s, err := f.Secret(t.Context(), p, scope)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestADestroyedSecretIsNeverMadeAnew(t *testing.T) {
	path, c := newPath(t), newClock()
	f := open(t, path, c)
	voters, phones := secret(t, f, keyring.VoterTags, "lunch"), secret(t, f, keyring.PhoneTags, "lunch")
	dinner := secret(t, f, keyring.VoterTags, "dinner")
	// Another name for the file as it is now: what lay on the disk must be overwritten, not only unlinked.
	disk := filepath.Join(t.TempDir(), "disk")
	if err := os.Link(path, disk); err != nil {
		t.Fatal(err)
	}
	if !holds(t, disk, voters) {
		t.Fatal("the test looks for the secret in another form than the file's")
	}

	stone, err := f.Destroy(t.Context(), keyring.VoterTags, "lunch")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(stone.Fingerprint, keyring.Fingerprint(keyring.VoterTags, "lunch", voters)) || !stone.At.Equal(c.Now()) {
		t.Errorf("the tombstone is %+v", stone)
	}
	if holds(t, path, voters) || holds(t, disk, voters) {
		t.Error("the secret is still on the disk")
	}
	if got := files(t, path); !slices.Equal(got, []string{"keys.json", "keys.json.lock"}) {
		t.Errorf("left behind: %q", got)
	}
	for range 2 {
		if _, err := f.Secret(t.Context(), keyring.VoterTags, "lunch"); !errors.Is(err, keyring.ErrDestroyed) {
			t.Fatalf("asked for, it gave %v", err)
		}
		c.pass(time.Hour)
		again, err := f.Destroy(t.Context(), keyring.VoterTags, "lunch")
		if err != nil || !again.At.Equal(stone.At) || !bytes.Equal(again.Fingerprint, stone.Fingerprint) {
			t.Errorf("destroyed again: %+v, %v", again, err)
		}
		f = open(t, path, c) // and after a restart
	}
	if secret(t, f, keyring.PhoneTags, "lunch") != phones || secret(t, f, keyring.VoterTags, "dinner") != dinner {
		t.Error("another secret was changed")
	}
	if _, err := f.Destroy(t.Context(), keyring.VoterTags, "never-was"); !errors.Is(err, keyring.ErrNoSecret) {
		t.Errorf("a secret that never was: %v", err)
	}
}

// A crash at either side of the replacement is put right by the next start, and costs no other secret.
func TestACrashWhileDestroying(t *testing.T) {
	for _, replaced := range []bool{false, true} {
		path, c := newPath(t), newClock()
		f := open(t, path, c)
		voters, phones := secret(t, f, keyring.VoterTags, "lunch"), secret(t, f, keyring.PhoneTags, "lunch")
		disk := filepath.Join(t.TempDir(), "disk")
		if err := errors.Join(os.Link(path, path+".old"), os.Link(path, disk)); err != nil {
			t.Fatal(err)
		}
		if replaced {
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			next := bytes.Replace(before, []byte(base64.StdEncoding.EncodeToString(voters[:])), []byte(base64.StdEncoding.EncodeToString(make([]byte, 32))), 1)
			if err := errors.Join(os.WriteFile(path+".new", next, 0o600), os.Rename(path+".new", path)); err != nil {
				t.Fatal(err)
			}
		}
		f = open(t, path, c)
		if secret(t, f, keyring.PhoneTags, "lunch") != phones {
			t.Errorf("replaced %t: another secret is lost", replaced)
		}
		if holds(t, disk, voters) == replaced {
			t.Errorf("replaced %t: the file that was replaced is not overwritten, or the one in use is", replaced)
		}
		if got := files(t, path); !slices.Equal(got, []string{"keys.json", "keys.json.lock"}) {
			t.Errorf("replaced %t: left behind: %q", replaced, got)
		}
	}
}

func TestAnInventoryTellsNoSecret(t *testing.T) {
	path, c := newPath(t), newClock()
	f := open(t, path, c)
	voters := secret(t, f, keyring.VoterTags, "lunch")
	stone := keyring.Fingerprint(keyring.VoterTags, "lunch", voters)
	before, err := keyring.Inspect(path)
	if err != nil || !before.Matches(keyring.VoterTags, "lunch", stone) || before.Matches(keyring.PhoneTags, "lunch", stone) {
		t.Fatalf("before: %v, %v", before.Held, err)
	}
	if _, err := f.Destroy(t.Context(), keyring.VoterTags, "lunch"); err != nil {
		t.Fatal(err)
	}
	after, err := keyring.Inspect(path)
	if err != nil || after.Matches(keyring.VoterTags, "lunch", stone) || len(after.Held) != 0 || !bytes.Equal(after.Destroyed["voter-tags/lunch"].Fingerprint, stone) {
		t.Errorf("after: %+v, %v", after, err)
	}
	if _, err := keyring.Inspect(path + ".none"); err == nil {
		t.Error("a file that is not there has an inventory")
	}
}
