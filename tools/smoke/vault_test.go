package smoke

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
)

type keys map[string]any

// A Vault with its own storage is unsealed with two of three shares, holds a token key that can be
// exported, and has the engines that the services need; sealed, it gives nothing.
func TestVault(t *testing.T) {
	free := ports(t, 2)
	config := write(t, "vault.hcl", fmt.Sprintf(`
storage "raft" {
  path    = %q
  node_id = "smoke"
}
listener "tcp" {
  address         = "127.0.0.1:%s"
  cluster_address = "127.0.0.1:%s"
  tls_disable     = true
}
api_addr      = "http://127.0.0.1:%[2]s"
cluster_addr  = "https://127.0.0.1:%[3]s"
disable_mlock = true
log_level     = "warn"
`, t.TempDir(), free[0], free[1]))
	vault := start(t, "127.0.0.1:"+free[0], "vault", "server", "-config="+config)

	var born struct {
		KeysBase64 []string `json:"keys_base64"`
		RootToken  string   `json:"root_token"`
	}
	vault.await("initialized", func() error {
		return vault.ask("PUT", "/v1/sys/init", keys{"secret_shares": 3, "secret_threshold": 2}, &born)
	})
	for _, share := range born.KeysBase64[:2] {
		vault.must("PUT", "/v1/sys/unseal", keys{"key": share}, nil)
	}
	vault.header.Set("X-Vault-Token", born.RootToken)
	vault.await("active", func() error { return vault.ask("GET", "/v1/sys/health", nil, nil) })

	for _, engine := range []string{"mounts/transit", "mounts/pki", "mounts/database", "auth/jwt"} {
		_, kind, _ := strings.Cut(engine, "/")
		vault.must("POST", "/v1/sys/"+engine, keys{"type": kind}, nil)
	}
	vault.must("POST", "/v1/transit/keys/token", keys{"type": "aes256-gcm96", "exportable": true}, nil)
	plain := base64.StdEncoding.EncodeToString([]byte("a voter's session"))
	var answer struct {
		Data struct {
			Ciphertext, Plaintext string
			Builtin               bool
			Keys                  map[string]string
		}
	}
	vault.must("POST", "/v1/transit/encrypt/token", keys{"plaintext": plain}, &answer)
	vault.must("POST", "/v1/transit/decrypt/token", keys{"ciphertext": answer.Data.Ciphertext}, &answer)
	if answer.Data.Plaintext != plain {
		t.Errorf("it opened %q as %q", answer.Data.Ciphertext, answer.Data.Plaintext)
	}
	vault.must("GET", "/v1/transit/export/encryption-key/token", nil, &answer)
	if len(answer.Data.Keys["1"]) != base64.StdEncoding.EncodedLen(32) {
		t.Errorf("it exported the keys %q", answer.Data.Keys)
	}
	vault.must("POST", "/v1/pki/root/generate/internal", keys{"common_name": "smoke", "ttl": "1h"}, nil)
	vault.must("GET", "/v1/sys/plugins/catalog/database/postgresql-database-plugin", nil, &answer)
	if !answer.Data.Builtin {
		t.Error("it makes no PostgreSQL roles")
	}

	vault.must("PUT", "/v1/sys/seal", nil, nil)
	if err := vault.ask("GET", "/v1/transit/export/encryption-key/token", nil, nil); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("sealed, it said: %v", err)
	}
}
