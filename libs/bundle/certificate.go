package bundle

import (
	"time"

	"github.com/popvote/popvote/libs/ballotapi"
)

// certificateCheck checks the certificate of destruction, where there is one: that it is signed, of this
// poll, and that the audit window had ended. That no copy of the key is anywhere nobody can check.
func (v *verifier) certificateCheck() {
	if v.archive.files[certificateFile] == nil {
		return
	}
	d, err := v.archive.document(certificateFile)
	var c *ballotapi.Certificate
	if err == nil {
		c, err = ballotapi.OpenCertificate(d, v.manifest.ID, v.manifest.SigningKey)
	}
	if err == nil {
		err = checkDocument(d, v.manifest.SigningKey)
	}
	if err != nil {
		v.report.add(CheckIdentityKey, certificateTitle, Failed, "%s: %v", certificateFile, err)
		return
	}
	last := c.Keys[0].DestroyedAt
	for _, k := range c.Keys {
		if k.DestroyedAt.After(last) {
			last = k.DestroyedAt
		}
	}
	v.report.add(CheckIdentityKey, certificateTitle, OK, "on %s, after an audit window that ended on %s; that no copy was kept elsewhere cannot be checked",
		last.UTC().Format(time.RFC3339), c.WindowEndedAt.UTC().Format(time.RFC3339))
}
