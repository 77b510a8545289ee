package text

import "testing"

func TestIsVariant(t *testing.T) {
	for _, tt := range []struct {
		name, of, want string
		is             bool
	}{
		{"itself", "confirm", "confirm", true},
		{"upper case", "CONFIRM", "confirm", true},
		{"long s", "url\u017f", "urls", true},
		{"Kelvin sign", "to\u212aen", "token", true},
		{"NUL and more", "confirm\x00x", "confirm", true},
		{"trailing blank", "confirm ", "confirm", true},
		{"zero-width inside", "con\u200bfirm", "confirm", true},
		{"soft hyphen", "con\u00adfirm", "confirm", true},
		{"another name", "confirmed", "confirm", false},
		{"visible difference", "c\u00f6nfirm", "confirm", false},
		{"empty", "", "confirm", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := IsVariant(tt.of, tt.want); got != tt.is {
				t.Errorf("IsVariant(%q, %q) = %v", tt.of, tt.want, got)
			}
		})
	}
}
