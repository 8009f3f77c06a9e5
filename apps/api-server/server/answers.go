package server

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/popvote/popvote/libs/problem"
	"github.com/popvote/popvote/libs/signed"
)

// How long caches on the way may keep an answer. Short: what is here changes while people watch.
const (
	cacheBriefly = "public, max-age=1, stale-while-revalidate=5, stale-if-error=300"
	cacheSecond  = "public, max-age=1"
	cacheMinute  = "public, max-age=10, stale-while-revalidate=60, stale-if-error=300"
	cacheForever = "public, max-age=31536000, immutable"
)

// answer is a finished public answer.
type answer struct {
	contentType  string
	cacheControl string
	plain        variant
	// gz is the same, compressed; empty where that gains nothing.
	gz variant
	// says is what a signed document says; nil for other answers.
	says []byte
}

type variant struct {
	body []byte
	etag string
}

// worthGzip is the size from which compression pays, bytes: less fits into one packet anyway.
const worthGzip = 1400

func newAnswer(contentType string, body []byte, cacheControl string) answer {
	return answer{contentType: contentType, cacheControl: cacheControl, plain: newVariant(body)}
}

func newVariant(body []byte) variant {
	sum := sha256.Sum256(body)
	return variant{body, `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`}
}

// jsonAnswer makes a JSON answer. What is compressed is public, so its length gives nothing away.
func jsonAnswer(v any, cacheControl string) (answer, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return answer{}, fmt.Errorf("couldn't write an answer: %w", err)
	}
	a := newAnswer("application/json", append(body, '\n'), cacheControl)
	if len(body) >= worthGzip {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write(a.plain.body) // memory does not fail
		_ = z.Close()
		a.gz = newVariant(b.Bytes())
	}
	return a, nil
}

// signedAnswer makes the answer of a signed document.
func signedAnswer(document signed.Document, cacheControl string) (answer, error) {
	a, err := jsonAnswer(document, cacheControl)
	a.says = document.Plain
	return a, err
}

// orNew keeps the old answer where the new one says the same under another signature: clients that
// have it need not fetch it again.
func (a answer) orNew(fresh answer) answer {
	if a.says != nil && bytes.Equal(a.says, fresh.says) {
		return a
	}
	return fresh
}

// write sends the answer, or 304 where the client has it.
func (a answer) write(w http.ResponseWriter, r *http.Request) error {
	h := w.Header()
	chosen := a.plain
	if a.gz.body != nil {
		h["Vary"] = varyOriginAndEncoding
		if acceptsGzip(r.Header.Get("Accept-Encoding")) {
			chosen = a.gz
			h.Set("Content-Encoding", "gzip")
		}
	}
	h.Set("Cache-Control", a.cacheControl)
	h.Set("ETag", chosen.etag)
	if matches(r.Header.Get("If-None-Match"), chosen.etag) {
		h.Del("Content-Encoding")
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	h.Set("Content-Type", a.contentType)
	h.Set("Content-Length", strconv.Itoa(len(chosen.body)))
	w.WriteHeader(http.StatusOK)
	_, err := w.Write(chosen.body)
	return err
}

// acceptsGzip reads Accept-Encoding as far as browsers use it; when in doubt, no.
func acceptsGzip(header string) bool {
	for one := range strings.SplitSeq(header, ",") {
		coding, weight, _ := strings.Cut(one, ";")
		if strings.TrimSpace(coding) == "gzip" {
			return !strings.Contains(weight, "q=0") || strings.Contains(weight, "q=0.")
		}
	}
	return false
}

var varyOriginAndEncoding = []string{"Origin, Accept-Encoding"}

// matches is If-None-Match with the weak comparison (RFC 9110, 13.1.2).
func matches(header, etag string) bool {
	for header != "" {
		var one string
		one, header, _ = strings.Cut(header, ",")
		one = strings.TrimSpace(one)
		if one == "*" || strings.TrimPrefix(one, "W/") == etag {
			return true
		}
	}
	return false
}

// maxAnswers bounds the answers kept; a tile is at most 8 kB, so at most some 20 MB.
const maxAnswers = 2048

// answers keeps small public answers for as long as they are fresh, and asks for each once however
// many want it, so that a flood of reads costs the ballot server nothing.
type answers struct {
	clock func() time.Time

	mu   sync.Mutex
	kept *simplelru.LRU[string, *kept] // guarded by mu
}

// kept is one answer, or the refusal of one.
type kept struct {
	// asking lets one caller at a time ask for it; guards the rest.
	asking sync.Mutex
	at     time.Time
	ttl    time.Duration
	answer answer
	err    error
}

func newAnswers(clock func() time.Time) *answers {
	lru, err := simplelru.NewLRU[string, *kept](maxAnswers, nil)
	if err != nil {
		panic(err) // the size is a constant
	}
	return &answers{clock: clock, kept: lru}
}

// get returns the answer of a key, asking for it where there is none or it is older than ttl. If
// asking fails for any reason but a problem of the reader's own (such as results-not-published), the
// last good answer stands.
func (a *answers) get(ctx context.Context, key string, ttl time.Duration, ask func(context.Context) (answer, error)) (answer, error) {
	a.mu.Lock()
	k, ok := a.kept.Get(key)
	if !ok {
		k = &kept{}
		a.kept.Add(key, k)
	}
	a.mu.Unlock()

	k.asking.Lock()
	defer k.asking.Unlock()
	now := a.clock()
	if !k.at.IsZero() && now.Sub(k.at) < min(k.ttl, ttl) {
		return k.answer, k.err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTimeout)
	defer cancel()
	fresh, err := ask(ctx)
	k.at, k.ttl = now, ttl
	switch {
	case err == nil:
		k.answer, k.err = k.answer.orNew(fresh), nil
	case refused(err):
		k.answer, k.err, k.ttl = answer{}, err, min(ttl, time.Second)
	case k.answer.plain.body != nil:
		k.err, k.ttl = nil, time.Second // stale, and said to nobody: caches are told to do the same
	default:
		k.err, k.ttl = problem.Wrap(problem.Unavailable, err).After(soon(time.Second)), time.Second
	}
	return k.answer, k.err
}

// refused tells a reader's answer "there is none" from its failure to answer.
func refused(err error) bool {
	switch problem.From(err).Code {
	case problem.NotFound, problem.PollNotFound, problem.ResultsNotPublished:
		return true
	}
	return false
}
