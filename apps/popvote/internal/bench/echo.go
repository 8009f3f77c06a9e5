package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/popvote/popvote/libs/service"
)

// echoed is a cast's body.
type echoed struct {
	Sealed string `json:"sealed" binding:"required"`
}

// Echo serves the yardstick: Gin that reads a cast's JSON and writes it back, and does nothing else.
// It prints its address as a line of JSON.
func Echo(ctx context.Context, stdout io.Writer) error {
	gin.SetMode(gin.ReleaseMode)
	g := gin.New()
	g.POST("/echo", func(c *gin.Context) {
		var in echoed
		if err := c.ShouldBindJSON(&in); err != nil {
			c.Status(http.StatusBadRequest)
			return
		}
		c.JSON(http.StatusCreated, in)
	})
	return service.Serve(ctx, service.Options{Started: func(at []net.Addr) {
		_ = json.NewEncoder(stdout).Encode(map[string]string{"echo": at[0].String()}) // the parent waits for it
	}}, service.Listener{Name: "echo", Address: "127.0.0.1:0", Handler: g})
}

// spawnEcho starts the yardstick.
func spawnEcho(ctx context.Context) (*process, string, error) {
	var at struct{ Echo string }
	p, err := spawn(ctx, &at, "bench-echo")
	if err != nil {
		return nil, "", fmt.Errorf("couldn't start the yardstick: %w", err)
	}
	return p, at.Echo, nil
}

// echoer sends the same request again and again.
func echoer(host string, request []byte) worker {
	return func() (work, func()) {
		c := dial(host, nil)
		_ = c.connect() // or else the first request does
		return func(int64) string {
			status, body, err := c.do(request)
			return outcome(status, body, err, http.StatusCreated)
		}, c.hangUp
	}
}
