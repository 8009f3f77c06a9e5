//go:build unix

package drill

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
)

//go:embed page.html.tmpl
var pageText string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"seconds": func(s float64) string { return fmt.Sprintf("%.1f", s) },
	"ms":      func(s float64) string { return fmt.Sprintf("%.0f", s) },
	"maybe": func(s float64) string {
		if s == 0 {
			return "–"
		}
		return fmt.Sprintf("%.1f", s)
	},
	"refused": func(r *Report) (n int) {
		for _, k := range r.Refused {
			n += k
		}
		return n
	},
	"picture": picture,
}).Parse(pageText))

// WritePage writes reports as one page that needs nothing else.
func WritePage(w io.Writer, all []*Report) error {
	if err := page.Execute(w, all); err != nil {
		return fmt.Errorf("couldn't write the page: %w", err)
	}
	return nil
}

// The picture's measures, in its own units.
const (
	width  = 960.0
	height = 180.0
	line   = 16.0 // of an event's text
)

// picture is a drill's timeline: a bar of acknowledged votes for each second and a line of verified
// phones, the fault and the longest gap shaded, and what was seen, each at its time.
func picture(r *Report) template.HTML {
	most := 1
	for _, n := range append(slices.Clone(r.PerSecond), r.Walks...) {
		most = max(most, n)
	}
	scale := width / max(r.End, 1)
	total := height + 28 + line*float64(len(r.Events))
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="-44 -20 %.0f %.0f" role="img" aria-label="votes acknowledged in each second of %s">`, width+52, total+20, template.HTMLEscapeString(r.Name))
	fmt.Fprintf(&b, `<rect class="fault" x="%.1f" width="%.1f" height="%.0f"/>`, r.FaultAt*scale, (r.UndoAt-r.FaultAt)*scale, height)
	if r.Gap >= 1 {
		fmt.Fprintf(&b, `<rect class="gap" x="%.1f" width="%.1f" height="%.0f"/>`, r.GapAt*scale, r.Gap*scale, height)
		fmt.Fprintf(&b, `<text class="tick" x="%.1f" y="-6">%.1f s without a vote</text>`, (r.GapAt+r.Gap/2)*scale, r.Gap)
	}
	for second, n := range r.PerSecond {
		h := height * float64(n) / float64(most)
		fmt.Fprintf(&b, `<rect class="votes" x="%.1f" y="%.1f" width="%.1f" height="%.1f"/>`, float64(second)*scale, height-h, max(scale-0.6, 0.4), h)
	}
	if len(r.Walks) > 0 {
		b.WriteString(`<polyline class="walks" points="`)
		for second, n := range r.Walks {
			fmt.Fprintf(&b, "%.1f,%.1f ", (float64(second)+0.5)*scale, height-height*float64(n)/float64(most))
		}
		b.WriteString(`"/>`)
	}
	fmt.Fprintf(&b, `<path class="axis" d="M0 0V%[1]gH%[2]g"/><text class="at" x="-6" y="8">%[3]d</text><text class="at" x="-6" y="%[1]g">0</text>`, height, width, most)
	for second := 0; float64(second) <= r.End; second += tick(r.End) {
		fmt.Fprintf(&b, `<text class="tick" x="%.1f" y="%.0f">%d s</text>`, float64(second)*scale, height+16, second)
	}
	for i, e := range r.Events {
		x, y := e.At*scale, height+36+line*float64(i)
		anchor, dx := "start", 5.0
		if x > width/2 {
			anchor, dx = "end", -5
		}
		fmt.Fprintf(&b, `<path class="event" d="M%.1f 0V%.1f"/><text x="%.1f" y="%.1f" text-anchor="%s">%.1f s %s</text>`,
			x, y, x+dx, y, anchor, e.At, template.HTMLEscapeString(e.What))
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String()) //nolint:gosec // what came from outside is escaped above
}

// tick is how many seconds lie between two labels, so that they don't run into each other.
func tick(end float64) int { return max(1, int(end)/240) * 20 }
