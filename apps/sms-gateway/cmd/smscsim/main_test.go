package main

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/popvote/popvote/libs/service"
	"github.com/popvote/popvote/libs/service/servicetest"
)

func TestItServesOnLoopbackAlone(t *testing.T) {
	var errs servicetest.Output
	at, stop := servicetest.Start(t, run, 1, &errs, &errs, "-listen", "127.0.0.1:0", "-control", "127.0.0.1:0")
	if status, body := servicetest.Get(t, "http://"+at["control"]+"/inbox"); status != http.StatusOK || strings.TrimSpace(body) != "[]" {
		t.Errorf("the inbox: %d, %s", status, body)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	for _, args := range [][]string{{"-listen", "0.0.0.0:0"}, {"-control", "192.0.2.1:80"}, {"-control", "localhost"}} {
		if err := run(t.Context(), args, &errs, &errs); !errors.Is(err, service.ErrConfig) {
			t.Errorf("%v: %v", args, err)
		}
	}
}
