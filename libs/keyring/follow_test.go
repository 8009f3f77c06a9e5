package keyring

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestADestroyedSecretIsForgottenEverywhere: what one process destroys, another that only follows the file
// has no more, not even in the memory where it was; the other secrets go on.
func TestADestroyedSecretIsForgottenEverywhere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	synctest.Test(t, func(t *testing.T) {
		here, there := follower(t, path), openHere(t, path)
		destroyed, kept := secretOf(t, here, "lunch"), secretOf(t, here, "dinner")
		where := here.now.Load().secrets[nameOf(VoterTags, "lunch")]
		if *where != destroyed {
			t.Fatal("the test looks at another place than the secret's")
		}
		if _, err := there.Destroy(t.Context(), VoterTags, "lunch"); err != nil {
			t.Fatal(err)
		}
		if s, err := here.Secret(t.Context(), VoterTags, "lunch"); err != nil || s != destroyed {
			t.Fatalf("before it looks again it has %v", err)
		}

		time.Sleep(FollowEvery + time.Second)
		synctest.Wait()
		if *where != [32]byte{} {
			t.Error("it is in memory still")
		}
		if _, err := here.Secret(t.Context(), VoterTags, "lunch"); !errors.Is(err, ErrDestroyed) {
			t.Errorf("got %v", err)
		}
		if secretOf(t, here, "dinner") != kept {
			t.Error("another secret has changed")
		}
	})
}

// TestALostFileChangesNothing: while it is gone, or broken, everything that was in it is given out, and Err
// says what is wrong; once it is back, all is well.
func TestALostFileChangesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	synctest.Test(t, func(t *testing.T) {
		here := follower(t, path)
		kept := secretOf(t, here, "lunch")
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for what, spoil := range map[string]func() error{
			"gone":   func() error { return os.Remove(path) },
			"broken": func() error { return os.WriteFile(path, []byte("{"), 0o600) },
		} {
			if err := spoil(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * FollowEvery)
			synctest.Wait()
			if here.Err() == nil || secretOf(t, here, "lunch") != kept {
				t.Errorf("%s: %v", what, here.Err())
			}
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * FollowEvery)
			synctest.Wait()
			if err := here.Err(); err != nil {
				t.Errorf("after it was %s: %v", what, err)
			}
		}
	})
}

// TestNobodyGetsAHalfWipedSecret: secrets are given out whole while the file changes all the time.
func TestNobodyGetsAHalfWipedSecret(t *testing.T) {
	f := openHere(t, filepath.Join(t.TempDir(), "keys.json"))
	want := secretOf(t, f, "lunch")
	ctx, stop := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for ctx.Err() == nil {
				if s, err := f.Secret(ctx, VoterTags, "lunch"); err != nil || s != want {
					t.Errorf("got another secret (%v)", err)
					return
				}
			}
		})
	}
	for range 200 {
		f.mu.Lock()
		err := f.reread()
		f.mu.Unlock()
		if err != nil {
			t.Error(err)
		}
	}
	stop()
	readers.Wait()
}

func openHere(t *testing.T, path string) *File {
	t.Helper()
	f, err := OpenFile(path, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// follower is another process's ring.
func follower(t *testing.T, path string) *File {
	t.Helper()
	f := openHere(t, path)
	go f.Follow(t.Context(), FollowEvery)
	return f
}

func secretOf(t *testing.T, f *File, poll string) [32]byte {
	t.Helper()
	s, err := f.Secret(t.Context(), VoterTags, poll)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
