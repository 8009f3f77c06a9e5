package server

import (
	"github.com/gin-gonic/gin"

	"github.com/popvote/popvote/libs/strictjson"
)

// How much a request may hold. Poll files and bundles of shares need room; nothing else does.
const (
	smallBody = 8 << 10
	largeBody = 2 << 20 // a poll file of poll.MaxFileBytes, escaped
)

// decode reads a body that must be exactly one JSON value of the wanted form.
func (s *Server) decode(c *gin.Context, into any, limit int64) error {
	return strictjson.Read(c.Writer, c.Request, limit, into)
}
