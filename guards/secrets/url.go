package secrets

import "strings"

// url matches a URL with a password in any scheme, scheme://user:password@host,
// whose "://" stands at text[at:end]. Of a store the whole URL goes: host and database
// of an internal service are nobody's business either. Of anything else a reader needs
// the place, and the password goes.
func (c *scanner) url(at, end int) {
	start := c.schemeStart(at)
	if start == at {
		return
	}
	stop := c.run(end, address)
	from, to, ok := c.password(end, stop, strings.HasPrefix(c.text[start:], "http"))
	if !ok || itself(c.text[from:to]) || placeholder(c.text[from:min(to, from+sample)]) || strings.Contains(c.text[end:to], marker) {
		return
	}
	host := c.host(to+1, stop)
	if !store(c.text[start:at]) {
		c.add(ruleConnection, from, host-1)
		return
	}
	c.add(ruleConnection, start, c.trimURL(host, stop))
}

// itself says whether a password is only called one, as in documentation.
func itself(v string) bool {
	for _, w := range passwordWords {
		if strings.EqualFold(v, w) {
			return true
		}
	}
	return strings.EqualFold(v, "secret")
}

// stores are schemes of databases, caches and queues, without what stands behind a plus.
var stores = []string{"postgres", "postgresql", "mysql", "mariadb", "mongodb", "redis", "rediss", "amqp", "amqps", "mssql", "sqlserver", "oracle", "clickhouse", "cassandra", "couchbase", "neo4j", "bolt", "kafka", "nats", "mqtt", "mqtts", "ldap", "ldaps", "cockroachdb", "snowflake", "db2", "sqlite", "elasticsearch", "memcached", "influxdb", "jdbc"}

func store(scheme string) bool {
	scheme, _, _ = strings.Cut(scheme, "+")
	for _, s := range stores {
		if strings.EqualFold(scheme, s) {
			return true
		}
	}
	return false
}

// schemeStart returns where the scheme before at starts, at if there is none.
// It looks back no further than the "://" before.
func (c *scanner) schemeStart(at int) int {
	s, start := c.text, at
	for start > 0 && (isAlnum(s[start-1]) || strings.IndexByte("+-.", s[start-1]) >= 0) {
		start--
	}
	start += min(escapeTail(s[:start]), at-start)
	for start < at && !isLetter(s[start]) {
		start++
	}
	c.work += at - start
	return start
}

// escapeTail returns how many bytes behind before belong to an escape that
// before has opened: the n of \n, the digits of %3D. JSON inside a text must
// stay JSON.
func escapeTail(before string) int {
	switch {
	case strings.HasSuffix(before, `\`):
		return 1
	case strings.HasSuffix(before, "%"):
		return 2
	}
	return 0
}

// password returns the password of the userinfo that starts at from. Raw
// passwords hold what RFC 3986 forbids there (# / ? @), and drivers quote them
// in errors; so only a number before / ? # is read as a port. In http a slash
// always ends the host (…:8080/@scope/package).
func (c *scanner) password(from, stop int, http bool) (start, end int, ok bool) {
	colon := from + c.indexAny(c.text[from:stop], ":/?#@")
	if colon < from || c.text[colon] != ':' {
		return 0, 0, false
	}
	start = colon + 1
	end = start + c.indexAny(c.text[start:stop], "/?#@")
	if end < start {
		return 0, 0, false
	}
	if b := c.text[end]; b != '@' && (isNumber(c.text[start:end]) || http && b == '/') {
		return 0, 0, false
	}
	for end < stop && c.text[end] != '@' {
		if strings.HasPrefix(c.text[end:stop], "//") {
			return 0, 0, false // the next URL
		}
		end++
		c.work++
	}
	return start, end, end < stop && end > start
}

// host returns where the host starts behind an @ before from: behind the last
// @ of the authority, since a raw password may hold one (p@ss@host).
func (c *scanner) host(from, stop int) int {
	for i := from; i < stop && strings.IndexByte("/?#", c.text[i]) < 0; i++ {
		if c.text[i] == '@' {
			from = i + 1
		}
		c.work++
	}
	return from
}

// indexAny is strings.IndexAny with its work counted. Like the loops of
// password it stops at the slashes of the next "://" at the latest, so no byte
// is read for many words.
func (c *scanner) indexAny(s, set string) int {
	i := strings.IndexAny(s, set)
	if i < 0 {
		c.work += len(s)
	}
	c.work += i + 1
	return i
}

func isNumber(s string) bool {
	for i := range len(s) {
		if !isDigit(s[i]) {
			return false
		}
	}
	return true
}

// trimURL returns where the URL whose host starts at host ends: before
// characters outside ASCII (prose in scripts that need no space) and without
// the punctuation that follows a URL in a sentence.
func (c *scanner) trimURL(host, stop int) int {
	end := host
	for end < stop && c.text[end] < 0x80 {
		end++
	}
	c.work += end - host
	return c.trim(host, end, ".,;:!?)]}*|")
}
