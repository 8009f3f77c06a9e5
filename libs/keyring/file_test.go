package keyring_test

import (
	"bytes"
	"context"
	"crypto/cipher"
	"crypto/ecdh"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/keyring"
)

// clock is a clock that a test sets.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func open(t testing.TB, path string, c *clock) *keyring.File {
	t.Helper()
	f, err := keyring.OpenFile(path, c.Now)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func newPath(t testing.TB) string { return filepath.Join(t.TempDir(), "data", "keys.json") }

func sealing(f *keyring.File) int {
	version, _, _ := f.Sealing()
	return version
}

// opens tells whether what the one AEAD sealed the other opens.
func opens(sealed, opened cipher.AEAD) bool {
	nonce := make([]byte, 12)
	_, err := opened.Open(nil, nonce, sealed.Seal(nil, nonce, []byte("x"), nil), nil)
	return err == nil
}

func TestTheFirstStartMakesAFileForItsOwnerOnly(t *testing.T) {
	path := newPath(t)
	f := open(t, path, newClock())
	if version := sealing(f); version != 1 {
		t.Errorf("the only version, just made, does not seal: version %d does", version)
	}
	for _, p := range []string{path, path + ".lock"} {
		info, err := os.Stat(p)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %04o, want 0600", p, info.Mode().Perm())
		}
	}
	info, err := os.Stat(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o700 {
		t.Errorf("its directory has mode %04o, want 0700", info.Mode().Perm())
	}
}

func TestALooserModeIsRefused(t *testing.T) {
	path := newPath(t)
	open(t, path, newClock())
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o620, 0o602, 0o644, 0o666, 0o601} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := keyring.OpenFile(path, newClock().Now)
		if !errors.Is(err, keyring.ErrLooseMode) {
			t.Errorf("%04o: %v, want ErrLooseMode", mode, err)
			continue
		}
		if !strings.Contains(err.Error(), "chmod 600 "+path) {
			t.Errorf("the message does not say what to do: %v", err)
		}
	}
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	if _, err := keyring.OpenFile(path, newClock().Now); err != nil {
		t.Errorf("a stricter mode: %v", err)
	}
}

func TestABrokenFileIsRefusedAndLeftAsItIs(t *testing.T) {
	key := `"` + strings.Repeat("A", 43) + `="`
	for name, text := range map[string]string{
		"empty":              ``,
		"cut short":          `{"format":1,"token_keys":[{"version":1,`,
		"no token keys":      `{"format":1,"token_keys":[],"secrets":{}}`,
		"a short token key":  `{"format":1,"token_keys":[{"version":1,"created":"2026-11-22T12:00:00Z","key":"AAAA"}],"secrets":{}}`,
		"a short secret":     `{"format":1,"token_keys":[{"version":1,"created":"2026-11-22T12:00:00Z","key":` + key + `}],"secrets":{"codes":"AAAA"}}`,
		"a version twice":    `{"format":1,"token_keys":[{"version":1,"created":"2026-11-22T12:00:00Z","key":` + key + `},{"version":1,"created":"2026-11-22T12:00:00Z","key":` + key + `}],"secrets":{}}`,
		"version zero":       `{"format":1,"token_keys":[{"version":0,"created":"2026-11-22T12:00:00Z","key":` + key + `}],"secrets":{}}`,
		"an unknown member":  `{"format":1,"token_keys":[],"secrets":{},"x":1}`,
		"of a later program": `{"format":2,"token_keys":[],"secrets":{}}`,
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "keys.json")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			c := newClock()
			c.pass(48 * time.Hour) // a rotation is due
			_, err := keyring.OpenFile(path, c.Now)
			if err == nil || !strings.Contains(err.Error(), path) {
				t.Errorf("%v, want an error that names the file", err)
			}
			if got, err := os.ReadFile(path); err != nil || string(got) != text {
				t.Errorf("the file has become %q, %v", got, err)
			}
		})
	}
}

func TestKeysRotateDailyAndSettleFirst(t *testing.T) {
	c := newClock()
	path := newPath(t)
	f := open(t, path, c)
	_, first, _ := f.Sealing()

	c.pass(24*time.Hour - time.Second)
	if version := sealing(f); version != 1 {
		t.Errorf("before a day is over, version %d seals", version)
	}
	c.pass(time.Second)
	if version := sealing(f); version != 1 {
		t.Errorf("version %d seals before every verifier can have it", version)
	}
	second, err := f.Opening(2)
	if err != nil {
		t.Fatalf("a day is over, and there is no version 2: %v", err)
	}
	c.pass(2*time.Minute - time.Second)
	if version := sealing(f); version != 1 {
		t.Errorf("after 119 s, version %d seals", version)
	}
	c.pass(time.Second)
	version, now, _ := f.Sealing()
	if version != 2 || !opens(now, second) || opens(now, first) {
		t.Errorf("after two minutes, version %d seals", version)
	}

	// Another start finds both.
	again := open(t, path, c)
	if version := sealing(again); version != 2 {
		t.Errorf("after another start, version %d seals", version)
	}
	old, err := again.Opening(1)
	if err != nil || !opens(first, old) {
		t.Errorf("after another start, version 1 does not open: %v", err)
	}
	if f.Err() != nil {
		t.Error(f.Err())
	}
}

func TestAVersionOpensAsLongAsItsTokensMayLive(t *testing.T) {
	c := newClock()
	f := open(t, newPath(t), c)
	lastSealed := map[int]time.Time{} // by version
	newest := 0
	for range 10 * 24 * 4 {
		c.pass(15 * time.Minute)
		version, _, _ := f.Sealing()
		lastSealed[version] = c.Now()
		if version < newest {
			t.Fatalf("version %d seals after version %d", version, newest)
		}
		newest = version
		for version, at := range lastSealed {
			_, err := f.Opening(version)
			if age := c.Now().Sub(at); err != nil && age < 24*time.Hour {
				t.Fatalf("version %d sealed %v ago, and does not open", version, age)
			} else if err == nil && age > 49*time.Hour {
				t.Fatalf("version %d sealed %v ago, and still opens", version, age)
			}
		}
	}
	if newest < 9 {
		t.Errorf("ten days have made %d versions", newest)
	}
}

func TestUnknownVersions(t *testing.T) {
	f := open(t, newPath(t), newClock())
	for _, version := range []int{-1, 0, 2, 1 << 30} {
		if _, err := f.Opening(version); !errors.Is(err, keyring.ErrUnknownVersion) {
			t.Errorf("version %d: %v, want ErrUnknownVersion", version, err)
		}
	}
}

func TestAnotherProcessFindsNewVersions(t *testing.T) {
	c := newClock()
	path := newPath(t)
	one, other := open(t, path, c), open(t, path, c)
	c.pass(25 * time.Hour)
	one.Sealing()
	if _, err := other.Opening(2); err != nil {
		t.Errorf("the other does not look into the file: %v", err)
	}
	c.pass(24 * time.Hour)
	one.Sealing()
	other.Sealing()
	c.pass(time.Hour)
	if a, b := sealing(one), sealing(other); a != 3 || b != 3 {
		t.Errorf("versions %d and %d seal; both have rotated", a, b)
	}
}

// TestNobodyIsTurnedAwayWhileTheFileIsReadAgain: the first tokens under a version that another process
// made come all at once, and garbage with them.
func TestNobodyIsTurnedAwayWhileTheFileIsReadAgain(t *testing.T) {
	c := newClock()
	path := newPath(t)
	one, other := open(t, path, c), open(t, path, c)
	for version := 2; version < 10; version++ {
		c.pass(25 * time.Hour)
		one.Sealing()
		c.pass(3 * time.Minute)
		if got := sealing(one); got != version {
			t.Fatalf("version %d seals, want %d", got, version)
		}
		var group sync.WaitGroup
		begin := make(chan struct{})
		for i := range 64 {
			group.Go(func() {
				<-begin
				if i%4 == 0 {
					other.Opening(1 << 20)
				} else if _, err := other.Opening(version); err != nil {
					t.Errorf("version %d: %v", version, err)
				}
			})
		}
		close(begin)
		group.Wait()
	}
}

// While the file cannot be written, the old version goes on, Err says so, and a later try succeeds.
func TestAFailedRotationStopsNothing(t *testing.T) {
	c := newClock()
	path := newPath(t)
	f := open(t, path, c)
	aside := path + ".aside"
	if err := os.Rename(path, aside); err != nil {
		t.Fatal(err)
	}
	c.pass(25 * time.Hour)
	if version := sealing(f); version != 1 {
		t.Errorf("version %d seals", version)
	}
	if err := f.Err(); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("Err is %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Error("new keys are in the place of those that are gone")
	}
	if err := os.Rename(aside, path); err != nil {
		t.Fatal(err)
	}
	c.pass(time.Minute)
	f.Sealing()
	if f.Err() != nil {
		t.Errorf("after the file is back: %v", f.Err())
	}
	if _, err := f.Opening(2); err != nil {
		t.Errorf("after the file is back: %v", err)
	}
}

func TestSecretsAreMadeOnceAndDurably(t *testing.T) {
	ctx := context.Background()
	c := newClock()
	path := newPath(t)
	f, other := open(t, path, c), open(t, path, c)
	seen := map[[32]byte]string{}
	for _, purpose := range []keyring.Purpose{
		keyring.VoterTags, keyring.PhoneTags, keyring.Verification, keyring.Codes, keyring.Challenges, keyring.Documents, keyring.Checkpoints,
	} {
		for _, scope := range []string{"", "hk-2014-06", "lunch"} {
			name := string(purpose) + "/" + scope
			s, err := f.Secret(ctx, purpose, scope)
			if err != nil {
				t.Fatal(err)
			}
			if before, ok := seen[s]; ok {
				t.Errorf("%s and %s are the same", name, before)
			}
			seen[s] = name
			for who, f := range map[string]*keyring.File{"asked again": f, "another process": other, "after a start": open(t, path, c)} {
				if again, err := f.Secret(ctx, purpose, scope); err != nil || again != s {
					t.Errorf("%s, %s: another secret, %v", name, who, err)
				}
			}
			if purpose == keyring.Documents {
				if _, err := ecdh.P256().NewPrivateKey(s[:]); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
	}
}

func TestASecretThatCannotBeKeptIsNotGiven(t *testing.T) {
	path := newPath(t)
	f := open(t, path, newClock())
	if _, err := f.Secret(context.Background(), keyring.Codes, ""); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	if s, err := f.Secret(context.Background(), keyring.VoterTags, "hk-2014-06"); err == nil || s != [32]byte{} {
		t.Errorf("%x, %v", s, err)
	}
	if _, err := f.Secret(context.Background(), keyring.Codes, ""); err != nil {
		t.Errorf("one that was made is no longer known: %v", err)
	}
}

func TestManyAtOnce(t *testing.T) {
	ctx := context.Background()
	c := newClock()
	path := newPath(t)
	files := []*keyring.File{open(t, path, c), open(t, path, c)}
	c.pass(25 * time.Hour) // a rotation is due
	var all sync.Map
	var group sync.WaitGroup
	for i := range 16 {
		group.Go(func() {
			f := files[i%2]
			for j := range 20 {
				scope := string(rune('a' + j%5))
				s, err := f.Secret(ctx, keyring.VoterTags, scope)
				if err != nil {
					t.Error(err)
					return
				}
				if before, ok := all.LoadOrStore(scope, s); ok && before != s {
					t.Errorf("two secrets for %s", scope)
				}
				version, sealed, _ := f.Sealing()
				if opened, err := files[(i+1)%2].Opening(version); err != nil || !opens(sealed, opened) {
					t.Errorf("what version %d seals does not open: %v", version, err)
				}
			}
		})
	}
	group.Wait()
	left, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*.tmp"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestADirectoryThatCannotBeMade(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, bytes.Repeat([]byte("x"), 8), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := keyring.OpenFile(filepath.Join(file, "keys.json"), newClock().Now); err == nil {
		t.Error("a file is taken for a directory")
	}
}

func BenchmarkSealing(b *testing.B) {
	f := open(b, newPath(b), newClock())
	b.ReportAllocs()
	for b.Loop() {
		f.Sealing()
	}
}

func BenchmarkSecret(b *testing.B) {
	ctx := context.Background()
	f := open(b, newPath(b), newClock())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.Secret(ctx, keyring.VoterTags, "hk-2014-06"); err != nil {
			b.Fatal(err)
		}
	}
}
