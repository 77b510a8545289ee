package main

import (
	"net/netip"
	"net/url"
	"regexp"
	"strings"

	"github.com/zricethezav/gitleaks/v8/detect"

	"mcp-sidecar/guards"
	"mcp-sidecar/proxy/scan"
)

// peers are what people use instead, by kind: the measure of what a guard is worth.
func peers(kind string) map[string]detector {
	switch kind {
	case scan.Injection:
		return map[string]detector{"six plain regexes": matches(plainInjection)}
	case scan.Secret:
		return map[string]detector{"seven plain regexes": matches(plainSecret), "gitleaks": gitleaks()}
	case scan.SSRF:
		return map[string]detector{"net/url and classes of net/netip": plainURL}
	case scan.Command:
		return map[string]detector{"metacharacters": matches(metacharacter)}
	}
	return nil
}

var (
	plainInjection = regexp.MustCompile(`(?i)ignore (all )?(previous|prior|above) instructions|disregard (all )?(previous|prior|the above)|you are now |system prompt|do not tell the user|<\|im_start\|>`)
	plainSecret    = regexp.MustCompile(`AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36}|xox[abp]-[A-Za-z0-9-]{10,}|eyJ[A-Za-z0-9_-]+\.eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+|-----BEGIN [A-Z ]*PRIVATE KEY-----|[a-z]+://[^/\s:@]+:[^/\s:@]+@|(?i:api[_-]?key|password|secret|token)["']?\s*[:=]\s*["']?[^\s"']{8,}`)
	metacharacter  = regexp.MustCompile("[;&|`$<>\\\\\n\r(){}*?!#~]")
)

func matches(re *regexp.Regexp) detector {
	return func(text string) scan.Verdict {
		v := scan.Verdict{Redacted: text}
		for _, at := range re.FindAllStringIndex(text, -1) {
			v.Findings = append(v.Findings, guards.Finding{Start: at[0], End: at[1], Score: 1})
			v.Flagged, v.Score = true, 1
		}
		if v.Flagged {
			v.Redacted = re.ReplaceAllString(text, "[REDACTED]")
		}
		return v
	}
}

// gitleaks is the scanner of that name, as its command runs it: with its own rules, and
// decoding what it can. It reports secrets for people to look at; here they are replaced.
func gitleaks() detector {
	d, err := detect.NewDetectorDefaultConfig()
	if err != nil {
		panic(err) // its rules are part of it
	}
	d.MaxDecodeDepth = 5
	return func(text string) scan.Verdict {
		v := scan.Verdict{Redacted: text}
		for _, f := range d.DetectString(text) {
			v.Flagged, v.Score = true, 1
			if at := strings.Index(text, f.Secret); at >= 0 {
				v.Findings = append(v.Findings, guards.Finding{Start: at, End: at + len(f.Secret), Score: 1})
				v.Redacted = strings.ReplaceAll(v.Redacted, f.Secret, "[REDACTED]")
			}
		}
		return v
	}
}

// plainURL is the check that most servers have.
func plainURL(text string) scan.Verdict {
	refused := scan.Verdict{Flagged: true, Score: 1}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.User != nil || u.Hostname() == "localhost" || strings.HasSuffix(u.Hostname(), ".internal") {
		return refused
	}
	if a, err := netip.ParseAddr(u.Hostname()); err == nil && (a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified()) {
		return refused
	}
	return scan.Verdict{}
}
