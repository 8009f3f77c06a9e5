package poll

import (
	"embed"
	"fmt"
	"path"
	"slices"
	"strings"
)

//go:embed samples/*.yaml
var samples embed.FS

// SampleIDs lists the polls that come with the program, sorted.
func SampleIDs() []string {
	entries, err := samples.ReadDir("samples")
	if err != nil {
		panic(err) // embedded: it is there
	}
	ids := make([]string, len(entries))
	for i, e := range entries {
		ids[i] = strings.TrimSuffix(e.Name(), path.Ext(e.Name()))
	}
	slices.Sort(ids)
	return ids
}

// Sample returns a poll that comes with the program. It is a demo without a tally key; see Seeded.
func Sample(id string) (*Definition, error) {
	data, err := SampleFile(id)
	if err != nil {
		return nil, err
	}
	return Parse(id+".yaml", data)
}

// SampleFile returns a sample's poll file, as a start for an operator's own.
func SampleFile(id string) ([]byte, error) {
	if !slices.Contains(SampleIDs(), id) {
		return nil, fmt.Errorf("no sample poll %q; there are %s", id, strings.Join(SampleIDs(), ", "))
	}
	return samples.ReadFile("samples/" + id + ".yaml")
}
