package service

import (
	"bytes"
	"errors"
	"flag"
	"strings"
	"testing"
)

func TestReadCommand(t *testing.T) {
	t.Setenv("SOME_SERVER_WORD", "from the environment")
	for _, c := range []struct {
		args         []string
		goOn         bool
		want         error
		out, errs, w string
	}{
		{nil, true, nil, "", "", "from the environment"},
		{[]string{"-word", "given"}, true, nil, "", "", "given"},
		{[]string{"-version"}, false, nil, "some-server ", "", ""},
		{[]string{"-h"}, false, flag.ErrHelp, "", "What it does.", ""},
		{[]string{"-nonsense"}, false, ErrConfig, "", "-nonsense", ""},
		{[]string{"stray"}, false, ErrConfig, "", "", ""},
		{[]string{"-config", "/nowhere.yaml"}, false, ErrConfig, "", "", ""},
	} {
		config := struct {
			Word string `koanf:"word" doc:"A word."`
		}{"default"}
		var out, errs bytes.Buffer
		goOn, err := ReadCommand("some-server", "What it does.\n", c.args, &config, &out, &errs)
		if goOn != c.goOn || !errors.Is(err, c.want) || !strings.HasPrefix(out.String(), c.out) || !strings.Contains(errs.String(), c.errs) {
			t.Errorf("%v: %t %v\n%s%s", c.args, goOn, err, &out, &errs)
		}
		if goOn && config.Word != c.w {
			t.Errorf("%v: %q", c.args, config.Word)
		}
	}
}
