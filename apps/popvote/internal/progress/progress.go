// Package progress shows how far long work is, on terminals only.
package progress

import (
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// Bar is one bar. Not safe for concurrent use.
type Bar struct {
	bar  *progressbar.ProgressBar
	what string
	w    io.Writer
	max  int64
}

// New returns a bar that appears with its first At. It is silent where w is not a terminal.
func New(w io.Writer, what string) *Bar {
	if f, ok := w.(*os.File); !ok || !term.IsTerminal(int(f.Fd())) {
		w = io.Discard
	}
	return &Bar{what: what, w: w}
}

// At says that done of total is done. The total may change.
func (b *Bar) At(done, total int64) {
	if total <= 0 {
		return
	}
	if b.bar == nil {
		b.bar = progressbar.NewOptions64(total,
			progressbar.OptionSetWriter(b.w),
			progressbar.OptionSetDescription(b.what),
			progressbar.OptionSetWidth(30),
			progressbar.OptionShowCount(),
			progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionClearOnFinish(),
		)
		b.max = total
	}
	if total != b.max {
		b.bar.ChangeMax64(total)
		b.max = total
	}
	_ = b.bar.Set64(done) // a terminal that has gone stops nothing
}

// Close removes the bar.
func (b *Bar) Close() error {
	if b.bar == nil {
		return nil
	}
	return b.bar.Clear()
}
