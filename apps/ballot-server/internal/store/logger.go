package store

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/logger"
)

// sqlLogger passes GORM's failures on to slog, without the statement: its values are voters' tags.
type sqlLogger struct{ log *slog.Logger }

func newLogger(log *slog.Logger) logger.Interface {
	if log == nil {
		return logger.Discard
	}
	return sqlLogger{log}
}

func (l sqlLogger) LogMode(logger.LogLevel) logger.Interface { return l }
func (l sqlLogger) Info(context.Context, string, ...any)     {}
func (l sqlLogger) Warn(context.Context, string, ...any)     {}
func (l sqlLogger) Error(context.Context, string, ...any)    {}
func (l sqlLogger) Trace(ctx context.Context, _ time.Time, _ func() (string, int64), err error) {
	if err != nil && !errors.Is(err, gorm.ErrRecordNotFound) {
		l.log.LogAttrs(ctx, slog.LevelDebug, "a statement failed", slog.String("error", err.Error()))
	}
}
