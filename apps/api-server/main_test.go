package main

import (
	"strings"
	"testing"
)

func TestUsageSaysWhatIsNeeded(t *testing.T) {
	var out, errs strings.Builder
	if code := run(nil, &out, &errs); code != 2 || out.Len() > 0 || !strings.Contains(errs.String(), "popvote up") {
		t.Errorf("without arguments: exit %d, %q", code, errs.String())
	}
	errs.Reset()
	if code := run([]string{"--help"}, &out, &errs); code != 0 || errs.Len() > 0 || !strings.Contains(out.String(), "popvote up") {
		t.Errorf("--help: exit %d, %q", code, out.String())
	}
}
