package simulator

import (
	"context"
	"errors"
	"fmt"

	"github.com/popvote/popvote/apps/sms-gateway/provider"
	"github.com/popvote/popvote/libs/sms"
)

// Provider is the network as one that routes lead to: what is sent by it is delivered.
func (s *Simulator) Provider(deps provider.Deps) provider.Provider { return route{s, deps} }

type route struct {
	network *Simulator
	deps    provider.Deps
}

var _ provider.Caller = route{}

// CanCall implements provider.Caller.
func (route) CanCall() bool { return true }

// Call implements provider.Caller: what would be spoken is there to read.
func (r route) Call(ctx context.Context, m sms.Message) (ref string, err error) {
	return r.Send(ctx, m)
}

// Send implements provider.Provider.
func (r route) Send(ctx context.Context, m sms.Message) (ref string, err error) {
	err = r.network.Send(ctx, m)
	if errors.Is(err, ErrLate) {
		return "", fmt.Errorf("%w: %w", sms.ErrUnavailable, err)
	}
	if err == nil {
		r.deps.Receipts.Receipt(ctx, provider.Receipt{Provider: r.deps.Name, Ref: m.ID, State: provider.Delivered, At: r.deps.Clock()})
	}
	return m.ID, err
}
