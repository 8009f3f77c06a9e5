package pgcluster

import "syscall"

// attributes run a process as the servers' account, and end it with ours, however that ends.
func (a *account) attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: a.credential(), Pdeathsig: quitNow}
}
