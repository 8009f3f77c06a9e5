package overhttp

import "sync"

// budget bounds retries to a share of the requests: when everything fails, retrying everything would
// double the load on whatever still stands.
type budget struct {
	mu     sync.Mutex // guards tokens
	tokens float64
}

const (
	perRequest = 0.1 // what a request earns
	mostTokens = 10  // what is saved up, for a client that has just begun
)

func newBudget() *budget { return &budget{tokens: mostTokens} }

// earn is called for each request that is no retry.
func (b *budget) earn() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tokens = min(mostTokens, b.tokens+perRequest)
}

// spend says whether there may be a retry.
func (b *budget) spend() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
