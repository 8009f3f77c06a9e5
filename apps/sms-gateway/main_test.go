package main

import (
	"errors"
	"flag"
	"strings"
	"testing"

	"github.com/popvote/popvote/libs/service"
)

func TestItSaysWhatItIsAndThatItHasNothingToDo(t *testing.T) {
	var out strings.Builder
	if err := run([]string{"-version"}, &out); err != nil || !strings.HasPrefix(out.String(), "sms-gateway dev (") {
		t.Errorf("-version: %v, %q", err, out.String())
	}
	err := run(nil, &out)
	if service.ExitCode(err) != service.ExitConfig || !strings.Contains(err.Error(), "popvote up") {
		t.Errorf("without a provider: %v", err)
	}
	if err := run([]string{"-no-such-flag"}, &out); service.ExitCode(err) != service.ExitConfig {
		t.Errorf("unknown flag: %v", err)
	}
	if err := run([]string{"-help"}, &out); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("-help: %v", err)
	}
}
