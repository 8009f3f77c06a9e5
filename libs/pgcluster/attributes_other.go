//go:build unix && !linux

package pgcluster

import "syscall"

// attributes run a process as the servers' account.
func (a *account) attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: a.credential()}
}
