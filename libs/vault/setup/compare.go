package setup

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// merge adds what Vault tells one level below: it takes connection_url, and tells
// connection_details.connection_url.
func merge(is map[string]any) map[string]any {
	inner, ok := is["connection_details"].(map[string]any)
	if !ok {
		return is
	}
	all := maps.Clone(is)
	maps.Copy(all, inner)
	return all
}

// differences says what of the wanted is otherwise; empty if nothing is. What Vault has beyond is its own.
func differences(want, is map[string]any) string {
	var out []string
	for _, field := range slices.Sorted(maps.Keys(want)) {
		if !same(want[field], is[field]) {
			out = append(out, fmt.Sprintf("%s is %s, not %s", field, show(is[field]), show(want[field])))
		}
	}
	return strings.Join(out, "; ")
}

func show(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(text)
}

// same compares as Vault does: it takes "24h" and tells 86400, and what is empty it may not tell at all.
func same(want, is any) bool {
	switch w := want.(type) {
	case map[string]any:
		i, ok := is.(map[string]any)
		return (ok || len(w) == 0) && differences(w, i) == ""
	case []any:
		i, ok := is.([]any)
		return (ok || len(w) == 0) && slices.EqualFunc(w, i, same)
	case nil:
		return is == nil
	}
	return plain(want) == plain(is)
}

// plain writes a value in one form.
func plain(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		if d, err := time.ParseDuration(v); err == nil {
			return fmt.Sprint(int64(d.Seconds()))
		}
		return strings.TrimSpace(v)
	case float64:
		return fmt.Sprint(int64(v))
	case bool:
		if !v {
			return "" // and 0, for no
		}
	}
	return strings.TrimSuffix(fmt.Sprint(v), "\n")
}
