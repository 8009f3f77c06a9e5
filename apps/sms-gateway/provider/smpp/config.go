package smpp

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The ways to bind, as the configuration names them.
const (
	bindTransceiver = "transceiver"
	bindTransmitter = "transmitter"
	bindReceiver    = "receiver"
	bindBoth        = "both"
)

// How parts of a longer text say that they are.
const (
	longUDH = "udh"
	longSAR = "sar"
)

const (
	// SMPP 3.4, 5.2.1 to 5.2.3, without the NUL.
	maxSystemID, maxPassword, maxSystemType = 15, 8, 12
	// maxName is an alphanumeric sender's length (3GPP TS 23.040, 9.1.2.5), maxNumber E.164's.
	maxName, maxNumber = 11, 15
	maxWindow          = 1000
)

// Config is one SMSC. Fields that are left empty have the default that their doc names.
type Config struct {
	Address      string        `koanf:"address" doc:"Where the SMSC is, host:port. Required."`
	TLS          bool          `koanf:"tls" doc:"Speak TLS. Without it, whoever is on the way reads the password, every number and every code: then the way has to be a tunnel."`
	CA           string        `koanf:"ca" doc:"A file with the certificates, PEM, of whom the SMSC's may be signed by. Default: the system's."`
	ServerName   string        `koanf:"server-name" doc:"The name in the SMSC's certificate. Default: the host of the address."`
	Bind         string        `koanf:"bind" doc:"How to bind: transceiver, transmitter (sends only), receiver (hears only), or both, a transmitter beside a receiver for an SMSC that knows no transceiver. Default: transceiver."`
	SystemID     string        `koanf:"system-id" doc:"Who we are, as the SMSC's operator named us. Required."`
	PasswordFile string        `koanf:"password-file" doc:"A file with the password, of mode 0600. Read at every bind. Default: the SMSC wants none."`
	SystemType   string        `koanf:"system-type" doc:"What the SMSC's operator wants as system_type. Default: nothing."`
	Sender       string        `koanf:"sender" doc:"Whom messages are from: a number in E.164, a short code, or a name of up to eleven characters. Default: what the SMSC puts there."`
	Region       string        `koanf:"region" doc:"Where voters' numbers are that come without a country code, ISO 3166-1 alpha-2. Default: HK."`
	Long         string        `koanf:"long" doc:"How the parts of a text longer than one SMS are marked: udh, in each part, or sar, for an SMSC that marks them itself. Default: udh."`
	Window       int           `koanf:"window" doc:"How many messages may wait for the SMSC's answer at a time, for each way in; more are refused at once. What its operator allows. Default: 10."`
	AnswerWithin time.Duration `koanf:"answer-within" doc:"How long the SMSC may take to answer. After that it is not known whether it took the message. Default: 10s."`
	EnquireEvery time.Duration `koanf:"enquire-every" doc:"How often to ask the SMSC whether it is there. One that says nothing for this and -answer-within together is bound to anew. Default: 30s."`
	RebindAfter  time.Duration `koanf:"rebind-after" doc:"How long to wait before binding again, at first; it doubles, less a random half of it. Default: 1s."`
	RebindAtMost time.Duration `koanf:"rebind-at-most" doc:"The longest such wait; also after a wrong password, of which too many lock accounts. Default: 1m."`
	ReceiptZone  string        `koanf:"receipt-zone" doc:"The time zone of times in delivery receipts, such as Asia/Hong_Kong: they come without one. Default: UTC."`
	Permanent    []string      `koanf:"permanent" doc:"Statuses of this SMSC's own, such as 0x0432, that mean a number which never gets an SMS, separated by commas. Default: none besides ESME_RINVDSTADR."`
	Blocked      []string      `koanf:"blocked" doc:"Statuses of this SMSC's own, such as 0x0403, that mean a message it takes for fraud, separated by commas. Default: none."`
}

// filled returns the configuration with its defaults.
func (c Config) filled() Config {
	fill(&c.Bind, bindTransceiver)
	fill(&c.Region, "HK")
	fill(&c.Long, longUDH)
	fill(&c.ReceiptZone, "UTC")
	fill(&c.Window, 10)
	fill(&c.AnswerWithin, 10*time.Second)
	fill(&c.EnquireEvery, 30*time.Second)
	fill(&c.RebindAfter, time.Second)
	fill(&c.RebindAtMost, max(time.Minute, c.RebindAfter))
	return c
}

func fill[T comparable](field *T, value T) {
	if *field == *new(T) {
		*field = value
	}
}

// Validate says what is wrong with it, by the name of the key.
func (c *Config) Validate() error {
	f := c.filled()
	if _, _, err := net.SplitHostPort(f.Address); err != nil {
		return fmt.Errorf("address: want host:port: %w", err)
	}
	switch {
	case !slices.Contains([]string{bindTransceiver, bindTransmitter, bindReceiver, bindBoth}, f.Bind):
		return fmt.Errorf("bind: %q is none of transceiver, transmitter, receiver, both", f.Bind)
	case f.SystemID == "" || len(f.SystemID) > maxSystemID:
		return fmt.Errorf("system-id: want 1 to %d characters", maxSystemID)
	case len(f.SystemType) > maxSystemType:
		return fmt.Errorf("system-type: want at most %d characters", maxSystemType)
	case !f.TLS && (f.CA != "" || f.ServerName != ""):
		return errors.New("ca and server-name are of no use without tls")
	case f.Long != longUDH && f.Long != longSAR:
		return fmt.Errorf("long: %q is neither udh nor sar", f.Long)
	case f.Window < 1 || f.Window > maxWindow:
		return fmt.Errorf("window: want 1 to %d", maxWindow)
	case f.AnswerWithin < 0 || f.EnquireEvery < 0 || f.RebindAfter < 0:
		return errors.New("answer-within, enquire-every and rebind-after can't be negative")
	case f.RebindAtMost < f.RebindAfter:
		return errors.New("rebind-at-most is shorter than rebind-after")
	}
	if _, err := sender(f.Sender); err != nil {
		return err
	}
	if _, err := time.LoadLocation(f.ReceiptZone); err != nil {
		return fmt.Errorf("receipt-zone: %w", err)
	}
	for key, list := range map[string][]string{"permanent": f.Permanent, "blocked": f.Blocked} {
		if _, err := statuses(list); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	if _, err := f.password(); err != nil {
		return err
	}
	_, err := f.tls()
	return err
}

// password reads the file; the error names it, and nothing in it.
func (c Config) password() (string, error) {
	if c.PasswordFile == "" {
		return "", nil
	}
	info, err := os.Stat(c.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("password-file: couldn't find the password: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return "", fmt.Errorf("password-file: couldn't trust %s: its mode is %04o, so others may know it; want 0600", c.PasswordFile, mode)
	}
	content, err := os.ReadFile(c.PasswordFile) //nolint:gosec // the operator names the file
	if err != nil {
		return "", fmt.Errorf("password-file: couldn't read the password: %w", err)
	}
	password := strings.TrimSpace(string(content))
	if len(password) > maxPassword {
		return "", fmt.Errorf("password-file: SMPP has passwords of at most %d characters", maxPassword)
	}
	return password, nil
}

// tls is nil without TLS.
func (c Config) tls() (*tls.Config, error) {
	if !c.TLS {
		return nil, nil
	}
	host, _, err := net.SplitHostPort(c.Address)
	if err != nil {
		return nil, fmt.Errorf("address: %w", err)
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.ServerName}
	fill(&t.ServerName, host)
	if c.CA != "" {
		content, err := os.ReadFile(c.CA) //nolint:gosec // the operator names the file
		if err != nil {
			return nil, fmt.Errorf("ca: couldn't read the certificates: %w", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(content) {
			return nil, fmt.Errorf("ca: there is no certificate in %s", c.CA)
		}
	}
	return t, nil
}

// statuses reads a list of command_statuses, in hexadecimal with 0x or in decimal.
func statuses(list []string) (all []uint32, err error) {
	for _, text := range list {
		status, err := strconv.ParseUint(strings.TrimSpace(text), 0, 32)
		if err != nil || status == 0 {
			return nil, fmt.Errorf("%q is no status such as 0x0403", text)
		}
		all = append(all, uint32(status))
	}
	return all, nil
}
