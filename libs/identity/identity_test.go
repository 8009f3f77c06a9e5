package identity_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/popvote/popvote/libs/identity"
	"github.com/popvote/popvote/libs/sms"
)

func hkid(t testing.TB) identity.Scheme {
	t.Helper()
	s, ok := identity.Lookup("hkid")
	if !ok {
		t.Fatal("there is no scheme hkid")
	}
	return s
}

func TestLookup(t *testing.T) {
	if got := hkid(t).Type(); got != "hkid" {
		t.Errorf("type %q", got)
	}
	if _, ok := identity.Lookup("HKID"); ok {
		t.Error("an unknown type has a scheme")
	}
}

// Published numbers, and numbers computed by two implementations.
func TestHKIDVectors(t *testing.T) {
	for _, number := range []string{
		"A1234563", "L5555550", "G123456A", "K1234560", "C1234569", "P1032651", "A1823615", "AB9876543", "AY9876546",
	} {
		got, err := hkid(t).Canonical(number)
		if err != nil || string(got) != number {
			t.Errorf("%s: %q, %v", number, string(got), err)
		}
		for _, check := range "0123456789A" {
			other := number[:len(number)-1] + string(check)
			if other == number {
				continue
			}
			if _, err := hkid(t).Canonical(other); !errors.Is(err, identity.ErrInvalid) {
				t.Errorf("%s, whose check digit is wrong: %v", other, err)
			}
		}
	}
}

func TestHKIDHoweverItIsTyped(t *testing.T) {
	for _, c := range []struct{ typed, canonical string }{
		{"A123456(3)", "A1234563"},
		{"a123456(3)", "A1234563"},
		{"  A 123 456 (3) ", "A1234563"},
		{"A-123456-3", "A1234563"},
		{"A123456[3]", "A1234563"},
		{"Ａ１２３４５６（３）", "A1234563"},
		{"ａ１２３４５６（３）", "A1234563"},
		{"A123456－3", "A1234563"},
		{"A123456–3", "A1234563"},
		{"A123456\u22123", "A1234563"},
		{"A\u3000123456【3】", "A1234563"},
		{"\ufeffA123456\u200b(3)\r\n", "A1234563"},
		{"g123456(a)", "G123456A"},
		{"Ｇ１２３４５６（ａ）", "G123456A"},
		{"ab987654(3)", "AB9876543"},
		{"ＡＢ９８７６５４（３）", "AB9876543"},
	} {
		got, err := hkid(t).Canonical(c.typed)
		if err != nil || string(got) != c.canonical {
			t.Errorf("%q: %q, %v; want %q", c.typed, string(got), err, c.canonical)
		}
	}
}

func TestWhatIsNoHKID(t *testing.T) {
	for _, typed := range []string{
		"", " ", "()", "A", "1234563", "A12345(6)", "A1234567(3)", "ABC123456(3)", "A1234563 A1234563",
		"A12345O(3)", // the letter O
		"A123456(3)x", "A1234.56(3)", "A123456/3", "甲123456(3)", "A१२३४५६(3)", "Á123456(3)", "A123456(③)",
		"A12345\xff6(3)",                       // not UTF-8
		"A123456(3)" + strings.Repeat(" ", 64), // nobody typed that
		"AA123456", "A1B2C3D4", "12345678", "AAAAAAAA",
	} {
		if got, err := hkid(t).Canonical(typed); !errors.Is(err, identity.ErrInvalid) || got != "" {
			t.Errorf("%q: %q, %v; want ErrInvalid", typed, string(got), err)
		}
	}
}

func TestEveryHKIDHasOneCanonicalForm(t *testing.T) {
	s := hkid(t)
	rapid.Check(t, func(t *rapid.T) {
		body := rapid.StringMatching(`[A-Z]{1,2}[0-9]{6}`).Draw(t, "body")
		var id identity.ID
		for _, check := range "0123456789A" {
			if got, err := s.Canonical(body + string(check)); err == nil {
				if id != "" {
					t.Fatalf("%s has two check digits", body)
				}
				id = got
			}
		}
		if id == "" {
			t.Fatalf("%s has no check digit", body)
		}
		var typed strings.Builder
		for _, c := range string(id) {
			typed.WriteString(rapid.SampledFrom([]string{"", "", "", " ", "-", "(", "）", "\u3000", "\u200b"}).Draw(t, "between"))
			switch rapid.IntRange(0, 2).Draw(t, "as") {
			case 0:
				typed.WriteRune(c)
			case 1:
				typed.WriteString(strings.ToLower(string(c)))
			default:
				typed.WriteRune(c - '!' + '！')
			}
		}
		if typed.Len() > 64 {
			return
		}
		got, err := s.Canonical(typed.String())
		if err != nil || got != id {
			t.Fatalf("%q: %q, %v; want %q", typed.String(), string(got), err, string(id))
		}
	})
}

// Any one digit or letter mistyped, and any two neighbours swapped, is noticed: 11 is a prime greater
// than every weight. (Letters 11 apart have the same value modulo 11.)
func TestHKIDNoticesTypingErrors(t *testing.T) {
	s := hkid(t)
	const number = "A1234563"
	for i := 1; i < 7; i++ {
		for _, d := range "0123456789" {
			if typed := number[:i] + string(d) + number[i+1:]; typed != number {
				if _, err := s.Canonical(typed); err == nil {
					t.Errorf("%s passes", typed)
				}
			}
		}
	}
	for i := 1; i < 6; i++ {
		typed := number[:i] + number[i+1:i+2] + number[i:i+1] + number[i+2:]
		if _, err := s.Canonical(typed); err == nil {
			t.Errorf("%s passes", typed)
		}
	}
}

func TestParsePhone(t *testing.T) {
	for _, c := range []struct {
		typed  string
		number string
		err    error
	}{
		{"91234567", "+85291234567", nil},
		{"9123 4567", "+85291234567", nil},
		{"+852 9123-4567", "+85291234567", nil},
		{"００８５２９１２３４５６７", "", identity.ErrPhoneInvalid}, // 00 dials nowhere from Hong Kong
		{"＋８５２９１２３４５６７", "+85291234567", nil},
		{"９１２３４５６７", "+85291234567", nil},
		{"(852) 91234567", "+85291234567", nil},
		{"+44 7400 123456", "+447400123456", nil},
		{"+1 201 555 0123", "+12015550123", nil}, // mobile or fixed: nobody can tell
		{"+86 138 0013 8000", "+8613800138000", nil},
		{"21234567", "", identity.ErrPhoneNotMobile},
		{"+44 20 7946 0958", "", identity.ErrPhoneNotMobile},
		{"800 123 456", "", identity.ErrPhoneNotMobile}, // free to call
		{"91234567 ext. 3", "", identity.ErrPhoneInvalid},
		{"912345678", "", identity.ErrPhoneInvalid},
		{"9123456", "", identity.ErrPhoneInvalid},
		{"999", "", identity.ErrPhoneInvalid},
		{"+999 91234567", "", identity.ErrPhoneInvalid},
		{"abc", "", identity.ErrPhoneInvalid},
		{"", "", identity.ErrPhoneInvalid},
		{strings.Repeat("9", 65), "", identity.ErrPhoneInvalid},
	} {
		got, err := identity.ParsePhone(c.typed, "HK")
		if got.Reveal() != c.number || !errors.Is(err, c.err) {
			t.Errorf("%q: %q, %v; want %q, %v", c.typed, got.Reveal(), err, c.number, c.err)
		}
	}
}

// Made with: printf A1234563 | openssl dgst -sha256 -mac HMAC -macopt hexkey:0102…20
func TestTagsAreHMACs(t *testing.T) {
	var key [32]byte
	for i := range key {
		key[i] = byte(i + 1)
	}
	voter := identity.TagVoter(key, "A1234563")
	if got := hex.EncodeToString(voter[:]); got != voterTagVector {
		t.Errorf("voter tag %s, want %s", got, voterTagVector)
	}
	phone := identity.TagPhone(key, "+85291234567")
	if got := hex.EncodeToString(phone[:]); got != phoneTagVector {
		t.Errorf("phone tag %s, want %s", got, phoneTagVector)
	}
	other := identity.TagVoter([32]byte{1}, "A1234563")
	if other == voter {
		t.Error("two keys, one tag")
	}
}

func TestTagsTravelAsText(t *testing.T) {
	type both struct {
		Voter identity.VoterTag
		Phone identity.PhoneTag
	}
	want := both{identity.VoterTag{1, 2, 3}, identity.PhoneTag{4, 5, 6}}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got both
	if err := json.Unmarshal(text, &got); err != nil || got != want {
		t.Errorf("%s came back as another: %v", text, err)
	}
	for _, bad := range []string{`"AAAA"`, `""`, `"?"`, `7`} {
		if err := json.Unmarshal([]byte(`{"Voter":`+bad+`}`), &got); err == nil {
			t.Errorf("%s is taken for a tag", bad)
		}
	}
}

// Whatever a careless line prints or logs, nobody is in it.
func TestNothingPrintsAnIdentity(t *testing.T) {
	id, number := identity.ID("A1234563"), sms.Number("+85291234567")
	voter, phone := identity.TagVoter([32]byte{1}, id), identity.TagPhone([32]byte{2}, number)
	holder := struct {
		ID    identity.ID
		Phone sms.Number
		Voter identity.VoterTag
		Tag   *identity.PhoneTag
	}{id, number, voter, &phone}

	var out bytes.Buffer
	for _, v := range []any{id, &id, voter, &voter, phone, &phone, number, holder, []identity.ID{id}, map[identity.ID]int{id: 1}} {
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			_, _ = fmt.Fprintf(&out, format+"\n", v)
		}
	}
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("x", "id", id, "voter", voter, "phone", phone, "number", number, "err", fmt.Errorf("%s %v", id, voter))
	}
	text, err := json.Marshal(id)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(text)
	printed := strings.ToLower(out.String())
	for _, secret := range []string{
		"a1234563", "91234567", hex.EncodeToString([]byte("91234567")), hex.EncodeToString([]byte(id)), hex.EncodeToString(voter[:4]), hex.EncodeToString(phone[:4]),
		fmt.Sprint(voter[:4])[1:], fmt.Sprint(phone[:4])[1:],
	} {
		if strings.Contains(printed, strings.TrimSuffix(secret, "]")) {
			t.Errorf("%s is in:\n%s", secret, printed)
		}
	}
}

func FuzzHKID(f *testing.F) {
	for _, s := range []string{"A123456(3)", "ab987654(3)", "Ａ１２３４５６（３）", "A\u200b1234563", "", "\xff", "A12345O(3)", strings.Repeat("(", 64)} {
		f.Add(s)
	}
	s := hkid(f)
	f.Fuzz(func(t *testing.T, typed string) {
		id, err := s.Canonical(typed)
		if err != nil {
			if id != "" || !errors.Is(err, identity.ErrInvalid) {
				t.Fatalf("%q: %q, %v", typed, string(id), err)
			}
			return
		}
		if n := len(id); n != 8 && n != 9 {
			t.Fatalf("%q: %q", typed, string(id))
		}
		if again, err := s.Canonical(string(id)); err != nil || again != id {
			t.Fatalf("%q is canonical, yet becomes %q, %v", string(id), string(again), err)
		}
	})
}

func FuzzPhone(f *testing.F) {
	for _, s := range []string{"91234567", "+85291234567", "９１２３４５６７", "tel:+852-9123-4567;ext=1", "+1 201 555 0123", "", "\xff", "+", "1-800-FLOWERS"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		n, err := identity.ParsePhone(typed, "HK")
		if err != nil {
			if n != "" {
				t.Fatalf("%q: %q and %v", typed, n.Reveal(), err)
			}
			return
		}
		if again, err := identity.ParsePhone(n.Reveal(), "US"); err != nil || again != n {
			t.Fatalf("%q is canonical, yet becomes %q, %v", n.Reveal(), again.Reveal(), err)
		}
	})
}

func TestABlockIsAThousandNumbers(t *testing.T) {
	key := [32]byte{1}
	first := identity.TagBlock(key, "+85291234000")
	for number, same := range map[sms.Number]bool{"+85291234999": true, "+85291235000": false, "+85291233999": false, "+85391234000": false, "+852912340001": false} {
		if (identity.TagBlock(key, number) == first) != same {
			t.Errorf("the block of %s: want the same: %v", number.Reveal(), same)
		}
	}
	if first == identity.TagBlock([32]byte{2}, "+85291234000") {
		t.Error("another poll's key makes the same tag")
	}
	if first == identity.BlockTag(identity.TagPhone(key, "+85291234")) {
		t.Error("a phone's tag is a block's")
	}
	identity.TagBlock(key, "+1") // whatever it is, it is no reason to fall over
	for _, text := range []string{fmt.Sprint(first), fmt.Sprintf("%#v", first), fmt.Sprintf("%x", first), first.String(), first.LogValue().String()} {
		if text != "block:redacted" {
			t.Errorf("a block prints as %q", text)
		}
	}
}

func TestCountriesByTheirPrefix(t *testing.T) {
	for _, c := range []struct {
		list []string
		has  map[sms.Number]bool
	}{
		{nil, map[sms.Number]bool{"+85291234567": true, "+85391234567": false, "+447400123456": false}},
		{[]string{"+4474"}, map[sms.Number]bool{"+85291234567": false, "+447400123456": true, "+447500123456": false}},
		{[]string{"any"}, map[sms.Number]bool{"+85291234567": true, "+12015550123": true}},
	} {
		countries, err := identity.ReadCountries(c.list, "HK")
		if err != nil {
			t.Fatal(err)
		}
		for number, want := range c.has {
			if countries.Have(number) != want {
				t.Errorf("%v: %s: want %v", c.list, number.Reveal(), want)
			}
		}
	}
	for _, wrong := range [][]string{{"+"}, {""}, {"852"}, {"+852", "HK"}, {"any", "+852"}} {
		if got, err := identity.ReadCountries(wrong, "HK"); err == nil {
			t.Errorf("%q was read as %v", wrong, got)
		}
	}
	if got, err := identity.ReadCountries(nil, "Hong Kong"); err == nil {
		t.Errorf("there is no such region, yet %v", got)
	}
}

func BenchmarkCanonical(b *testing.B) {
	s := hkid(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Canonical("Ａ123456（3）"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParsePhone(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := identity.ParsePhone("+852 9123 4567", "HK"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkTagVoter(b *testing.B) {
	key := [32]byte{1}
	b.ReportAllocs()
	for b.Loop() {
		identity.TagVoter(key, "A1234563")
	}
}

const (
	voterTagVector = "dfa91689b08336ed0500b56a2d90a13f4b33c96f585c73de7e8dae67772d6e20"
	phoneTagVector = "b667a4046812f13b4cac842df8aa4ca3e51224815795646c0cd3c5884e39e1ab"
)

func TestCallingCodesAreTheCountrys(t *testing.T) {
	for prefix, want := range map[string]string{
		"+852": "+852", "+85291": "+852", "+1": "+1", "+1684733": "+1", "+44": "+44", "+447": "+44", "+7700": "+7", "+800123": "+800",
		"+": "+", "+8": "+", "+85": "+", "+999": "+", "": "+",
	} {
		if got := identity.CallingCode(prefix); got != want {
			t.Errorf("%s: %s, want %s", prefix, got, want)
		}
	}
}
