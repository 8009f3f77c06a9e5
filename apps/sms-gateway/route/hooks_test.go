package route

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestEachRouteIsCalledAtItsOwnPath(t *testing.T) {
	n := start(t, three)
	var asked []string
	for name := range n.fakes {
		n.hooks[name] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				w.WriteHeader(http.StatusRequestEntityTooLarge)
				return
			}
			asked = append(asked, name+" "+r.URL.Path+" "+string(body))
		})
	}
	if got := n.Hooked(); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Error(got)
	}
	hooks := n.Hooks()
	call := func(path, body string) int {
		w := httptest.NewRecorder()
		hooks.ServeHTTP(w, httptest.NewRequest(http.MethodPost, path, strings.NewReader(body)))
		return w.Code
	}
	for path, want := range map[string]int{
		"/hooks/a": http.StatusOK, "/hooks/b/inbound": http.StatusOK, "/hooks/x": http.StatusNotFound, "/": http.StatusNotFound,
		"/hooks/": http.StatusNotFound, "/hooks/ab": http.StatusNotFound,
	} {
		if got := call(path, "hello"); got != want {
			t.Errorf("%s: %d", path, got)
		}
	}
	if slices.Sort(asked); !slices.Equal(asked, []string{"a / hello", "b /inbound hello"}) {
		t.Errorf("%q", asked)
	}
	if got := call("/hooks/c", strings.Repeat("x", maxHook+1)); got != http.StatusRequestEntityTooLarge {
		t.Errorf("a long body: %d", got)
	}
}

func TestCallsThatHangAreEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, three)
		n.hooks["a"] = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		hooks, began := n.Hooks(), time.Now()
		codes := make(chan int, hooksAtOnce+1)
		for range hooksAtOnce + 1 {
			go func() {
				w := httptest.NewRecorder()
				hooks.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/hooks/a", strings.NewReader("x")))
				codes <- w.Code
			}()
		}
		if first := <-codes; first != http.StatusServiceUnavailable || time.Since(began) > 0 {
			t.Errorf("one too many: %d after %s", first, time.Since(began))
		}
		for range hooksAtOnce {
			if got := <-codes; got != http.StatusServiceUnavailable {
				t.Errorf("one that hangs: %d", got)
			}
		}
		if took := time.Since(began); took > hookWithin {
			t.Errorf("they took %s", took)
		}
	})
}
