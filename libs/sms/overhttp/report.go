package overhttp

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/popvote/popvote/libs/discovery"
	"github.com/popvote/popvote/libs/sms"
)

// ReportPath is where a gateway reports.
const ReportPath = "/report"

const (
	// reportWithin is how long a gateway may take to report: it asks nobody, so one that needs longer is not well.
	reportWithin = 2 * time.Second
	// reportsAtOnce is how many gateways are asked at the same time: more than there are.
	reportsAtOnce = 64
	// maxReport is far above the report of a hundred routes.
	maxReport = 1 << 20
)

// Why a gateway did not report.
var (
	// ErrNotTold is a service that may not have reports.
	ErrNotTold = errors.New("this service may not have the gateway's report")
	// ErrNoReport is a gateway of an earlier version, which makes none.
	ErrNoReport = errors.New("this gateway is of a version that makes no report")
)

// NewReportHandler answers with a gateway's report, and with nothing else: who may read it can have nothing sent by
// that. Only the services in allow, by the names in their certificates, may.
func NewReportHandler(report func(context.Context) sms.Report, allow []string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+ReportPath, only(allow, func(w http.ResponseWriter, r *http.Request) {
		text, err := json.Marshal(report(r.Context()))
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError) // numbers and words only: cannot happen
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		_, _ = w.Write(text) // whoever asked may have gone
	}))
	return mux
}

// Reported is one gateway's report, or why there is none.
type Reported struct {
	discovery.Instance
	Report sms.Report
	// Err is ErrNotTold or ErrNoReport, or anything else for a gateway that did not answer.
	Err error
}

// Reporter asks the gateways of a Finder for their reports. Safe for concurrent use.
type Reporter struct {
	finder    discovery.Finder
	transport *http.Transport
}

// NewReporter returns a Reporter that has not connected yet. Config is mtls.Files.Client of Service. Close it.
func NewReporter(finder discovery.Finder, config *tls.Config) *Reporter {
	return &Reporter{finder: finder, transport: newTransport(config)}
}

// Close lets go of connections that are idle.
func (r *Reporter) Close() { r.transport.CloseIdleConnections() }

// Reports asks every gateway there is at once, and waits two seconds at most: of one that is silent it says so. They
// are in the order of their clouds and addresses.
func (r *Reporter) Reports(ctx context.Context) []Reported {
	ctx, cancel := context.WithTimeout(ctx, reportWithin)
	defer cancel()
	found := r.finder.Find(Service)
	all := make([]Reported, len(found))
	places := make(chan struct{}, reportsAtOnce)
	var group sync.WaitGroup
	for i, in := range found {
		all[i].Instance = in
		group.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			all[i].Report, all[i].Err = r.ask(ctx, in.Address)
		})
	}
	group.Wait()
	slices.SortFunc(all, func(a, b Reported) int {
		return cmp.Or(cmp.Compare(a.Cloud, b.Cloud), cmp.Compare(a.Address, b.Address))
	})
	return all
}

func (r *Reporter) ask(ctx context.Context, address string) (report sms.Report, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address+ReportPath, http.NoBody)
	if err != nil {
		return report, fmt.Errorf("couldn't ask %s: %w", address, err)
	}
	response, err := r.transport.RoundTrip(request)
	if err != nil {
		return report, fmt.Errorf("couldn't hear from %s: %w", address, err)
	}
	defer func() { _ = response.Body.Close() }() // it was read, or is of no use
	switch response.StatusCode {
	case http.StatusOK:
	case statusForbidden:
		return report, fmt.Errorf("couldn't read the report of %s: %w", address, ErrNotTold)
	case http.StatusNotFound:
		return report, fmt.Errorf("couldn't read the report of %s: %w", address, ErrNoReport)
	default:
		return report, fmt.Errorf("couldn't read the report of %s: status %d", address, response.StatusCode)
	}
	// A gateway of tomorrow may say more than is known here.
	if err := json.NewDecoder(io.LimitReader(response.Body, maxReport)).Decode(&report); err != nil {
		return sms.Report{}, fmt.Errorf("couldn't read the report of %s: %w", address, err)
	}
	return report, nil
}
