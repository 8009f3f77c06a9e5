package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/popvote/popvote/apps/popvote/internal/progress"
	"github.com/popvote/popvote/libs/keyring"
	"github.com/popvote/popvote/libs/mtls"
	"github.com/popvote/popvote/libs/mtls/devca"
	"github.com/popvote/popvote/libs/sms"
	"github.com/popvote/popvote/libs/token"
	"github.com/popvote/popvote/libs/verification"
)

const (
	smsGateway    = "sms-gateway"
	inboundNumber = "+85264500000"
	// textsPerSecond is how many voters text while the others wait, for textsFor.
	textsPerSecond = 200
	textsFor       = 30 * time.Second
	// MostHeld is how many voters there are to hold: their phones must differ.
	MostHeld = 1_000_000
	// perSource is how many connections come from one address of loopback: fewer than it has free ports.
	perSource = 20_000
	// spareFiles are what a process has open beside the voters' connections.
	spareFiles = 500
	// openers connect voters at once.
	openers = 64
	// pinged is longer than the server's pings are apart: by then each connection has had one.
	pinged = 20 * time.Second
)

// Held is what an API server takes to hold voters who wait for their phone, and how soon they are told.
type Held struct {
	// Wanted connections, and how many there could be: FileLimit bounds both sides' processes.
	Wanted    int    `json:"wanted"`
	Count     int    `json:"held"`
	FileLimit uint64 `json:"file_limit"`
	// OpenedIn is how long it took to open them, seconds.
	OpenedIn float64 `json:"opened_in_seconds"`
	// What the API server grew by, KiB for each: resident memory, and of that Go's heap and stacks in use.
	Resident float64 `json:"resident_kib_each"`
	Heap     float64 `json:"heap_kib_each"`
	Stacks   float64 `json:"stacks_kib_each"`
	// Texted voters, a fixed number a second, and from the network's call to the voter's event, milliseconds.
	Texted int     `json:"texted"`
	P50    float64 `json:"p50_ms"`
	P99    float64 `json:"p99_ms"`
	Most   float64 `json:"most_ms"`
	// Untold were texted and did not hear of it; Lost waited, and their connection broke.
	Untold int `json:"untold"`
	Lost   int `json:"lost"`
}

// waiting is a voter who waits for the phone.
type waiting struct {
	number, text string
	conn         net.Conn
	// texted is set before the SMS goes out; told and err before ended is closed.
	texted, told time.Time
	err          error
	ended        chan struct{}
}

// runHeld has one API server hold voters, as many as are wanted and as there may be files.
func runHeld(ctx context.Context, o Options, report *Report, stderr io.Writer) (err error) {
	h := &Held{Wanted: o.Held}
	report.Held = h
	h.FileLimit = fileLimit(uint64(o.Held) + spareFiles) //nolint:gosec // checked to be above 0
	h.Count = min(o.Held, int(min(h.FileLimit, 1<<30))-spareFiles)
	if h.Count < 1 {
		return fmt.Errorf("couldn't hold anybody: a process may have %d files open", h.FileLimit)
	}
	bar := progress.New(stderr, "holding")
	defer func() { err = errors.Join(err, bar.Close()) }()
	i, err := startHeld(ctx, o, h.Count)
	defer func() { err = errors.Join(err, i.close()) }()
	if err != nil {
		return err
	}
	before, err := i.memory(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	voters, err := i.hold(ctx, h.Count, bar)
	defer func() {
		for _, v := range voters {
			_ = v.conn.Close() // whoever still waits
			<-v.ended
		}
	}()
	if err != nil {
		return err
	}
	h.OpenedIn = time.Since(began).Seconds()
	select {
	case <-time.After(pinged):
	case <-ctx.Done():
		return ctx.Err()
	}
	after, err := i.memory(ctx)
	if err != nil {
		return err
	}
	h.Resident, h.Heap, h.Stacks = after.each(before, h.Count)
	return i.textAll(ctx, h, voters)
}

// fileLimit is how many files a process and those that it starts may have open, raised towards want where that is
// allowed.
func fileLimit(want uint64) uint64 {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return 0
	}
	if limit.Max < want && syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: want, Max: want}) == nil {
		return want
	}
	return limit.Max // Go has raised the other to this
}

// startHeld starts an API server that may hold so many, the gateway that hears what is texted, and a ballot server on
// SQLite, which only says that there is a poll.
func startHeld(ctx context.Context, o Options, count int) (*instance, error) {
	i := &instance{admins: map[string]string{}}
	dir, err := i.dataDir(o.Dir)
	if err != nil {
		return i, err
	}
	s := &site{dir: dir, programs: o.Programs, profiles: o.Profile != ""}
	keys, err := keyring.OpenFile(s.keys(), time.Now)
	if err != nil {
		return i, err
	}
	if _, err := devca.Make(devca.Config{
		Dir: filepath.Join(dir, "certs"), Services: []string{ballotServer, apiServer, controlPanel, smsGateway}, Clock: time.Now,
	}); err != nil {
		return i, err
	}
	if s.redis, err = i.startRedis(dir); err != nil {
		return i, err
	}
	_, at, err := i.start(ctx, s, ballotServer, "-tls", s.certificates(ballotServer), "-data", dir, "-listen", "127.0.0.1:0")
	if err != nil {
		return i, err
	}
	panel, err := mtls.Load(s.certificates(controlPanel), time.Now)
	if err != nil {
		return i, err
	}
	if err := i.openBox(panel, at["services"]); err != nil {
		return i, err
	}
	gateway, atGateway, err := startProgram(ctx, s.binary(smsGateway), 3, "-tls", s.certificates(smsGateway), "-keys", s.keys(),
		"-redis-addresses", s.redis, "-simulate", "-listen", "127.0.0.1:0", "-phone-listen", "127.0.0.1:0", "-admin", "127.0.0.1:0", "-log-level", "info")
	if err != nil {
		return i, err
	}
	i.onClose(gateway.stop)
	i.phone = atGateway["phone"]
	pid, api, err := i.startAPI(ctx, s, at["services"], "-max-waiters", strconv.Itoa(count), "-max-connections", strconv.Itoa(count+spareFiles/2))
	if err != nil {
		return i, err
	}
	i.api, i.serving = api, serving{{apiServer, pid}}
	if i.awaits, err = keys.Secret(ctx, keyring.Verification, ""); err != nil {
		return i, err
	}
	return i, i.prepare(ctx, keys)
}

// hold connects voters whose sessions were begun before, and returns once the server holds all of them.
func (i *instance) hold(ctx context.Context, count int, bar *progress.Bar) ([]*waiting, error) {
	voters := make([]*waiting, count)
	var next, failures atomic.Int64
	var failed error
	var once sync.Once
	var all sync.WaitGroup
	for range openers {
		all.Go(func() {
			for n := next.Add(1) - 1; n < int64(count) && ctx.Err() == nil && failures.Load() == 0; n = next.Add(1) - 1 {
				var err error
				if voters[n], err = i.wait(n); err != nil {
					failures.Add(1)
					once.Do(func() { failed = err })
				}
			}
		})
	}
	all.Wait()
	voters = slices.DeleteFunc(voters, func(v *waiting) bool { return v == nil })
	if err := errors.Join(failed, ctx.Err()); err != nil {
		return voters, err
	}
	return voters, await(ctx, "all being held", func(ctx context.Context) error {
		held, err := i.figure(ctx, apiServer, "popvote_api_waiters")
		bar.At(int64(held), int64(count))
		lost := count - len(still(voters))
		if err == nil && int(held)+lost < count {
			err = fmt.Errorf("%.0f of %d are, and %d lost their connection", held, count, lost)
		}
		return err
	})
}

// wait connects the n-th voter until the server has begun to answer, and reads what comes after that.
func (i *instance) wait(n int64) (*waiting, error) {
	v := &waiting{number: mobile(n), text: sms.NewText(rand.Reader), ended: make(chan struct{})}
	now := time.Now()
	session := token.Session{
		ID: randomID(), Poll: i.manifest.ID, Step: token.Identified, Channel: "web", Lang: "en", Started: now, Expires: now.Add(time.Hour),
		Await: verification.KeyOf(i.awaits, sms.Number(v.number), v.text),
	}
	_, _ = rand.Read(session.Voter[:])
	_, _ = rand.Read(session.Phone[:])
	sealed, err := i.tokens.Seal(session)
	if err != nil {
		return nil, err
	}
	c := dial(i.api.address, nil)
	c.from = &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+n/perSource))}
	if err := c.send(get(i.api.address, "/v1/verification", "Accept: text/event-stream\r\nAuthorization: Bearer "+sealed+"\r\n")); err != nil {
		c.hangUp()
		return nil, fmt.Errorf("couldn't connect voter %d: %w", n+1, err)
	}
	status, _, chunked, err := c.head()
	if o := outcome(status, nil, err, http.StatusOK); o != ok || !chunked {
		c.hangUp()
		return nil, fmt.Errorf("couldn't connect voter %d: %s", n+1, o)
	}
	v.conn = c.net
	if err := v.conn.SetDeadline(time.Time{}); err != nil {
		c.hangUp()
		return nil, err
	}
	go func() {
		defer close(v.ended)
		defer c.hangUp()
		v.err = c.chunks()
		v.told = time.Now()
		if v.err == nil && !strings.Contains(string(c.body), "event: verified") {
			v.err = errors.New("the stream ended without the event")
		}
	}()
	return v, nil
}

// textAll has some of the voters text, so many a second, and sees who hears of it.
func (i *instance) textAll(ctx context.Context, h *Held, voters []*waiting) error {
	h.Lost = len(voters) // before anybody texted
	voters = still(voters)
	h.Lost -= len(voters)
	h.Texted = min(len(voters), textsPerSecond*int(textsFor.Seconds()))
	// Spread over all, so that they are of every age.
	texting := make([]*waiting, h.Texted)
	for n := range texting {
		texting[n] = voters[n*len(voters)/h.Texted]
	}
	sent := openLoop(ctx, connect(openers, func() (work, func()) {
		c := dial(i.phone, nil)
		return func(n int64) string {
			v := texting[n]
			v.texted = time.Now()
			status, body, err := c.do(post(i.phone, "/sms", "", fmt.Appendf(nil, `{"from":"%s","to":"%s","text":"%s"}`, v.number, inboundNumber, v.text)))
			if err == nil && status/100 == 2 {
				return ok
			}
			return "sms: " + outcome(status, body, err, 0)
		}, c.hangUp
	}), textsPerSecond, int64(h.Texted))
	delete(sent.outcomes, ok)
	if len(sent.outcomes) > 0 || ctx.Err() != nil {
		return errors.Join(fmt.Errorf("couldn't text: %v", sent.outcomes), ctx.Err())
	}
	var took latencies
	for deadline, n := time.Now().Add(patience), 0; n < len(texting); n++ {
		if v := texting[n]; v.endedBy(deadline) && v.err == nil {
			took = append(took, v.told.Sub(v.texted))
		}
	}
	slices.Sort(took)
	h.Untold = h.Texted - len(took)
	h.P50, h.P99, h.Most = took.percentile(0.5), took.percentile(0.99), took.percentile(1)
	return nil
}

// hasEnded says whether the voter's connection has.
func (v *waiting) hasEnded() bool {
	select {
	case <-v.ended:
		return true
	default:
		return false
	}
}

// endedBy waits for that until a time; what has ended has, however late it is.
func (v *waiting) endedBy(deadline time.Time) bool {
	if v.hasEnded() {
		return true
	}
	select {
	case <-v.ended:
		return true
	case <-time.After(time.Until(deadline)):
		return false
	}
}

// still are those who wait.
func still(voters []*waiting) (left []*waiting) {
	for _, v := range voters {
		if !v.hasEnded() {
			left = append(left, v)
		}
	}
	return left
}

// memory is an API server's, in bytes.
type memory struct{ resident, heap, stacks float64 }

func (i *instance) memory(ctx context.Context) (m memory, err error) {
	for name, to := range map[string]*float64{
		"process_resident_memory_bytes": &m.resident, "go_memstats_heap_inuse_bytes": &m.heap, "go_memstats_stack_inuse_bytes": &m.stacks,
	} {
		if *to, err = i.figure(ctx, apiServer, name); err != nil {
			return m, err
		}
	}
	return m, nil
}

// each is by how much it grew, KiB for each of so many.
func (m memory) each(before memory, count int) (resident, heap, stacks float64) {
	kib := func(now, then float64) float64 { return (now - then) / 1024 / float64(count) }
	return kib(m.resident, before.resident), kib(m.heap, before.heap), kib(m.stacks, before.stacks)
}

// figure is one of a program's metrics.
func (i *instance) figure(ctx context.Context, program, name string) (float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, i.admins[program]+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, fmt.Errorf("couldn't ask %s for its metrics: %w", program, err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, fmt.Errorf("couldn't read the metrics of %s: %w", program, err)
	}
	for line := range strings.Lines(string(text)) {
		if value, found := strings.CutPrefix(line, name+" "); found {
			return strconv.ParseFloat(strings.TrimSpace(value), 64)
		}
	}
	return 0, fmt.Errorf("%s has no metric %s", program, name)
}
