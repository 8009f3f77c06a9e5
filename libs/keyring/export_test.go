package keyring

import "time"

// Every has the ring fetched that often.
func (v *VaultTokens) Every(d time.Duration) { v.every = d }

// Ripe has versions seal that early.
func (v *VaultTokens) Ripe(d time.Duration) { v.ripe = d }

// Every has it looked that often whether secrets were destroyed.
func (v *VaultSecrets) Every(d time.Duration) { v.every = d }
