package command

import (
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"mcp-sidecar/guards"
)

// Rule ids of findings in free text.
const (
	RuleChain        = "command-chain"    // a separator, and a command behind it
	RuleSubstitution = "substitution"     // $(command) or `command`
	RuleRedirection  = "redirection"      // > file, < file, >& descriptor
	RuleExpansion    = "expansion"        // ${IFS}, {cat,file}, %COMSPEC%
	RuleOption       = "option-injection" // an option that runs, reads or writes something
	RuleCode         = "code-execution"   // system('…'), <?php, () { :;};
	RuleBudget       = "guard-budget"     // too long to be looked at
)

// MaxFree is how long a value may be that is looked at as a whole, in bytes.
const MaxFree = 1 << 20

// Examine says what value would do as one argument of a command beyond being one: start
// another command, expand, redirect, or act as an option that does. It cannot know which
// quotes the argument will stand in, so every separator counts in every context, also in
// escaped and full-width spellings; what tells an attack from prose is what stands behind
// it. A single plain command and a sentence are nothing. Offsets are those of value. The
// work is linear in it.
func Examine(value string) []guards.Finding {
	found, _ := examine(value)
	return found
}

func examine(value string) (found []guards.Finding, work int) {
	if len(value) > MaxFree {
		return []guards.Finding{finding(RuleBudget, 0, len(value))}, 0
	}
	if !suspicious(value) {
		return nil, 0
	}
	for reading, depth := value, 0; ; depth++ {
		f := free{text: reading, escaped: depth > 0}
		f.read()
		work += f.work
		for _, g := range f.found {
			if depth > 0 {
				g.Start, g.End = 0, len(value) // offsets are lost where escapes were
			}
			found = append(found, g)
		}
		if len(found) > 0 || depth == maxDecode {
			break
		}
		next := unescape(reading)
		if next == reading {
			break
		}
		reading = next
	}
	slices.SortStableFunc(found, func(a, b guards.Finding) int { return a.Start - b.Start })
	return slices.CompactFunc(found, func(a, b guards.Finding) bool { return b.Start < a.End }), work
}

// reach is how far away the end of something may be, in bytes: nothing that runs is longer
// before it says so, and the work stays linear.
const (
	reach    = 512
	longName = 32
)

// near is the beginning of s.
func (f *free) near(s string) string {
	s = s[:min(len(s), reach)]
	f.work += len(s)
	return s
}

// maxDecode bounds escapes of escapes.
const maxDecode = 3

func finding(rule string, start, end int) guards.Finding {
	return guards.Finding{Guard: Name, Rule: rule, Label: Name + ":" + rule, Start: start, End: end, Score: 1}
}

// suspicious says whether anything of value can be more than a word.
func suspicious(value string) bool {
	if startsWithDash(strings.TrimLeft(value, " \t")) {
		return true
	}
	for i := 0; i < len(value); i++ {
		if value[i] >= utf8.RuneSelf || strings.IndexByte("\n\r;&|`$<>{(%^\\!'\"?[", value[i]) >= 0 {
			return true
		}
	}
	return false
}

// free looks at one reading of a value.
type free struct {
	text    string
	escaped bool // the reading is not what was written: nobody escapes a sentence
	found   []guards.Finding
	work    int // bytes looked at beside the text itself; a test holds it linear
}

func (f *free) add(rule string, start, end int) { f.found = append(f.found, finding(rule, start, end)) }

func (f *free) read() {
	s := f.text
	f.option()
	f.code()
	f.edges()
	f.disguised()
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case ';', '\n', '\r':
			f.chain(i, i+1)
		case '&', '|':
			if i+1 < len(s) && s[i+1] == s[i] {
				f.chain(i, i+2)
				i++
				continue
			}
			if i > 0 && s[i] == '&' && (s[i-1] == '>' || s[i-1] == '<') {
				continue // a descriptor
			}
			f.chain(i, i+1)
		case '`':
			end := strings.IndexByte(f.near(s[i+1:]), '`')
			if end < 0 {
				continue
			}
			end += i + 1
			if f.inWord(i, end) || f.runs(s[i+1:end], !f.quoted(i, end)) {
				f.add(RuleSubstitution, i, end+1)
			}
			i = end
		case '$':
			i = f.dollar(i)
		case '<', '>':
			i = f.redirect(i)
		case '{':
			f.braces(i)
		case '%':
			f.percent(i)
		case '^':
			f.caret(i)
		case '\\':
			if i+2 < len(s) && s[i+1] == '\n' && i > 0 && letter(s[i-1]) && letter(s[i+2]) { // a word over two lines
				f.add(RuleExpansion, i, i+2)
			}
		}
	}
}

// disguised looks for words that are the name of a command once quotes and backslashes are
// taken out of them (c”at, wh\oami), and for paths with marks for any letter (/b?n/c?t).
func (f *free) disguised() {
	s := f.text
	for at := 0; at < len(s); {
		end := at
		for end < len(s) && strings.IndexByte(" \t\n\r;|&", s[end]) < 0 {
			end++
		}
		word := s[at:end]
		if len(word) > 2 && len(word) <= 4*longName {
			if k := strings.IndexAny(word[1:len(word)-1], "'\"\\"); k >= 0 && letter(word[0]|0x20) && strings.IndexByte(word, '/') < 0 {
				bare := withoutQuotes.Replace(word)
				if commands[strings.ToLower(bare)] != 0 && len(bare) > 1 && !strings.HasSuffix(word, "'s") {
					f.add(RuleExpansion, at, end)
				}
			}
			if k := strings.IndexAny(word, "?["); k > 0 && word[0] == '/' && strings.IndexByte(word[k:], '/') > 0 && strings.IndexByte(word, '=') < 0 {
				f.add(RuleExpansion, at, end)
			}
		}
		at = end + 1
	}
}

var withoutQuotes = strings.NewReplacer("'", "", "\"", "", "\\", "")

// edges looks at a separator in front of everything, which no value of its own has, and at
// one behind a command in front.
func (f *free) edges() {
	s := f.text
	start := len(s) - len(strings.TrimLeft(s, " \t\"'"))
	if start == len(s) {
		return
	}
	if sep := s[start]; sep == ';' || sep == '&' || sep == '|' || f.escaped && sep == '\n' {
		rest := strings.TrimLeft(s[start:], ";&| \t\r\n\"'")
		if rest != "" && (letter(rest[0]) || strings.IndexByte("/$`{(.\\", rest[0]) >= 0) && !row(s[start:]) && !entity(s[start:]) {
			f.add(RuleChain, start, len(s)-len(rest))
		}
		return
	}
	if end := strings.IndexAny(s, ";&|"); end > 0 && !strings.HasPrefix(s[end:], "&amp;") && f.runs(s[:end], false) {
		f.add(RuleChain, end, end+1)
	}
}

// row says whether s is a row of a table: fields between bars, with blanks.
func row(s string) bool {
	s, _, _ = strings.Cut(s, "\n")
	return strings.HasPrefix(s, "|") && strings.Count(s, "|") > 2 && strings.Count(s, " |")+1 >= strings.Count(s, "|")
}

// entity says whether s begins with one of HTML.
func entity(s string) bool {
	end := strings.IndexByte(s, ';')
	return s[0] == '&' && end > 1 && end < 10 && (plainWord(s[1:end]) || s[1] == '#')
}

// inWord says whether backticks stand inside a word: who`echo am`i.
func (f *free) inWord(start, end int) bool {
	s := f.text
	return start > 0 && (letter(s[start-1]) || s[start-1] >= '0' && s[start-1] <= '9') || end+1 < len(s) && letter(s[end+1])
}

// quoted says whether what stands between two backticks is set off as code in a sentence:
// blanks or marks around it, and words.
func (f *free) quoted(start, end int) bool {
	s := f.text
	before := start > 0 && strings.IndexByte(" (\n", s[start-1]) >= 0
	after := end+1 == len(s) || strings.IndexByte(" ).,:;\n", s[end+1]) >= 0
	return before && after && sentence(s[max(0, start-reach):start])+sentence(f.near(s[end+1:])) >= 3
}

// sentence counts words of letters alone.
func sentence(s string) (n int) {
	for word := range strings.FieldsSeq(s) {
		if plainWord(strings.TrimRight(word, ".,:;!?)")) {
			n++
		}
	}
	return n
}

func plainWord(w string) bool {
	for i := range len(w) {
		if c := w[i] | 0x20; c < 'a' || c > 'z' {
			return false
		}
	}
	return len(w) > 1
}

// chain looks behind a separator.
func (f *free) chain(at, behind int) {
	end := behind
	for end < len(f.text) && strings.IndexByte(";&|\n\r", f.text[end]) < 0 {
		end++
	}
	if f.runs(f.text[behind:end], f.escaped || f.text[at] != '\n' && f.text[at] != '\r') {
		f.add(RuleChain, at, end)
	}
}

// runs says whether a statement is a command. Behind anything but a line break one word is
// enough if it is the name of nothing else.
func (f *free) runs(statement string, alone bool) bool {
	statement = strings.TrimLeft(statement, " \t\"'(@{!")
	f.work += len(statement)
	for { // assignments in front
		word, rest := cutWord(statement)
		name, _, assigned := strings.Cut(word, "=")
		if !assigned || !identifier(name) || strings.TrimSpace(rest) == "" {
			break
		}
		statement = strings.TrimLeft(rest, " \t\"'(")
		f.work += len(word)
	}
	word, rest := cutWord(statement)
	word = strings.TrimRight(word, "\"')}];")
	if word == "" {
		return false
	}
	if strings.ContainsAny(word, "$`") && (strings.Contains(word, "$(") || strings.Contains(word, "${IFS") || strings.Contains(word, "$IFS")) {
		return true
	}
	if word[0] == '$' && len(word) > 1 && (word[1] == '0' || word[1] == '_' || letter(word[1])) {
		return true // a command that a variable names
	}
	name := strings.ToLower(strings.ReplaceAll(withoutQuotes.Replace(word), "^", ""))
	if program(word) {
		return true
	}
	if k := strings.IndexAny(name, "<>"); k > 0 {
		name, rest = name[:k], name[k:]+rest
	}
	name = strings.TrimSuffix(strings.TrimSuffix(name, ".exe"), ".com")
	switch commands[name] {
	case certain:
		return true
	case lonely:
		return alone && strings.Trim(rest, " \t\"')`}]#") == ""
	case short:
		return alone && strings.Trim(rest, " \t\"')`}]#") == "" || argument(rest)
	case english:
		return argument(rest) || windowsNet(name, rest)
	}
	return false
}

// windowsNet says whether words are those of the command net.
func windowsNet(name, rest string) bool {
	verb, _ := cutWord(strings.TrimLeft(rest, " \t"))
	return name == "net" && slices.Contains([]string{"user", "users", "view", "localgroup", "group", "use", "share", "start", "stop", "accounts", "session"}, strings.ToLower(verb))
}

// cutWord splits at the first blank, or what stands for one.
func cutWord(s string) (word, rest string) {
	if k := strings.IndexAny(s, " \t,"); k >= 0 {
		return s[:k], s[k:]
	}
	return s, ""
}

func identifier(s string) bool {
	for i := range len(s) {
		if c := s[i]; c != '_' && !(c|0x20 >= 'a' && c|0x20 <= 'z') && !(i > 0 && c >= '0' && c <= '9') {
			return false
		}
	}
	return s != ""
}

// program says whether word is a path to one.
func program(word string) bool {
	w := strings.ToLower(word)
	for _, place := range []string{"/bin/", "/sbin/", "/usr/", "/tmp/", "/dev/", "./", "../", "~/", "c:\\", "%systemroot%", "%comspec%", "\\\\"} {
		if strings.HasPrefix(w, place) && len(w) > len(place) {
			return true
		}
	}
	return false
}

// argument says whether what stands behind a word that may be English is what a command
// takes: an option, a path, a file, a number, a variable.
func argument(rest string) bool {
	word, _ := cutWord(strings.TrimLeft(rest, " \t,"))
	word = strings.Trim(word, "\"'`)}];")
	if word == "" {
		return false
	}
	if strings.IndexByte("/~$*<>|", word[0]) >= 0 || strings.HasPrefix(word, "./") || strings.HasPrefix(word, "..") || len(word) > 2 && word[1] == ':' && word[2] == '\\' {
		return true
	}
	if word[0] == '-' {
		return len(word) > 1 && word != "--"
	}
	if dot := strings.LastIndexByte(word, '.'); dot > 0 && dot < len(word)-1 { // name.ext, 10.0.0.1
		return !strings.HasSuffix(word, ".")
	}
	return strings.Trim(word, "0123456789") == ""
}

// dollar looks at a dollar sign, and returns the last byte that it has dealt with.
func (f *free) dollar(i int) int {
	s := f.text
	if i+1 == len(s) {
		return i
	}
	switch next := s[i+1]; next {
	case '(':
		inner := f.near(s[i+2:])
		end := i + 2 + len(inner)
		if k := strings.IndexByte(inner, ')'); k >= 0 {
			inner, end = inner[:k], i+2+k+1
		}
		if strings.HasPrefix(inner, "(") { // arithmetic
			f.add(RuleExpansion, i, end)
			return i + 1
		}
		if f.runs(inner, true) || strings.ContainsAny(inner, "`$<>|;&") || strings.Contains(strings.TrimSpace(inner), " ") {
			f.add(RuleSubstitution, i, end)
		}
		return i + 1
	case '{':
		end := strings.IndexByte(f.near(s[i:]), '}')
		if end < 0 {
			return i + 1
		}
		name := s[i+2 : i+end]
		if !identifier(name) || variables[name] {
			f.add(RuleExpansion, i, i+end+1)
		}
		return i + 1
	case '\'', '"':
		if end := strings.IndexByte(f.near(s[i+2:]), next); end >= 0 && (strings.IndexByte(s[i+2:i+2+end], '\\') >= 0 || commands[s[i+2:i+2+end]] == certain) { // $'\x41'
			f.add(RuleExpansion, i, i+end+3)
		}
		return i
	case '@', '*':
		if i > 0 && i+2 < len(s) && letter(s[i-1]) && letter(s[i+2]) { // who$@ami
			f.add(RuleExpansion, i, i+2)
		}
		return i
	}
	end := i + 1
	for end < len(s) && (letter(s[end]) || s[end] == '_' || s[end] >= '0' && s[end] <= '9') {
		end++
	}
	if variables[s[i+1:end]] || strings.HasPrefix(s[i+1:end], "IFS") {
		f.add(RuleExpansion, i, end)
	}
	return i
}

func letter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// redirect looks at < or >, and returns the last byte of it.
func (f *free) redirect(i int) int {
	s := f.text
	end := i + 1
	for end < len(s) && (s[end] == s[i] || s[end] == '&' || s[end] == '|' && s[i] == '>') && end-i < 3 {
		end++
	}
	if i > 0 && (s[i-1] == '-' || s[i-1] == '=') { // an arrow
		return end - 1
	}
	rest := strings.TrimLeft(f.near(s[end:]), " \t")
	word, _ := cutWord(rest)
	if k := strings.IndexAny(word, ";|&)\"'`\n"); k >= 0 {
		word = word[:k]
	}
	switch {
	case word == "" && end < len(s) && s[end] == '(': // <(command)
	case strings.HasPrefix(rest, "(") && end-i == 1 && f.runs(rest[1:], true):
		f.add(RuleRedirection, i, end+1)
	case s[end-1] == '&' && word != "" && (word[0] >= '0' && word[0] <= '9' || word[0] == '-' || word[0] == '/'):
		f.add(RuleRedirection, i, end)
	case s[i] == '<' && strings.HasPrefix(word, "/") && (strings.IndexByte(word, '>') > 0 || strings.HasSuffix(word, "/")): // </tag>
	case strings.HasPrefix(word, "/") && len(word) > 1 && word[1] != '>', strings.HasPrefix(word, "~/"), strings.HasPrefix(word, "./") && len(word) > 2, strings.HasPrefix(word, "../"), strings.HasPrefix(word, "$"):
		f.add(RuleRedirection, i, end)
	case file(word) && strings.IndexByte(word, '>') < 0:
		f.add(RuleRedirection, i, end)
	}
	return end - 1
}

// file says whether word is the name of a file: letters, a point, and an ending.
func file(word string) bool {
	dot := strings.LastIndexByte(word, '.')
	if dot < 1 || len(word)-dot < 2 || len(word)-dot > 6 || strings.ContainsAny(word, "()=,<") {
		return false
	}
	return letter(word[dot+1]) && !strings.HasPrefix(word, ".")
}

// braces looks at {a,b}: without a blank, and a command in front.
func (f *free) braces(i int) {
	end := strings.IndexByte(f.near(f.text[i:]), '}')
	if end < 0 {
		return
	}
	inner := f.text[i+1 : i+end]
	if strings.IndexByte(inner, ',') > 0 && !strings.ContainsAny(inner, " :\"") && f.runs(inner, true) {
		f.add(RuleExpansion, i, i+end+1)
	}
}

// percent looks at %NAME% and %NAME:~1,2% of Windows.
func (f *free) percent(i int) {
	end := strings.IndexByte(f.near(f.text[i+1:]), '%')
	if end < 1 || end > 40 {
		return
	}
	name, part, cut := strings.Cut(f.text[i+1:i+1+end], ":")
	if variables[strings.ToUpper(name)] || cut && identifier(name) && strings.HasPrefix(part, "~") {
		f.add(RuleExpansion, i, i+end+2)
	}
}

// caret looks at p^ing: an escape of Windows inside the name of a command.
func (f *free) caret(i int) {
	s := f.text
	if i == 0 || i+1 >= len(s) || !letter(s[i-1]) || !letter(s[i+1]) {
		return
	}
	start, end := i, i
	for start > 0 && i-start < longName && (letter(s[start-1]) || s[start-1] == '^') {
		start--
	}
	for end < len(s) && end-i < longName && (letter(s[end]) || s[end] == '^') {
		end++
	}
	if commands[strings.ToLower(strings.ReplaceAll(s[start:end], "^", ""))] != 0 {
		f.add(RuleExpansion, start, end)
	}
}

// option looks at a value that is one.
func (f *free) option() {
	s := strings.TrimLeft(f.text, " \t\"'")
	at := len(f.text) - len(s)
	if !startsWithDash(s) {
		return
	}
	if s[0] != '-' { // as some command lines read it
		bare := strings.TrimLeftFunc(s, func(r rune) bool { return startsWithDash(string(r)) })
		long := utf8.RuneCountInString(s[:len(s)-len(bare)])
		inner := free{text: strings.Repeat("-", min(long, 2)) + bare}
		inner.option()
		if len(inner.found) > 0 {
			f.add(inner.found[0].Rule, at, len(f.text))
		}
		return
	}
	if len(s) < 2 {
		return
	}
	word, rest := cutWord(s)
	name, value, assigned := strings.Cut(strings.TrimLeft(word, "-"), "=")
	name = strings.ToLower(name)
	switch {
	case strings.HasPrefix(word, "--") && name != "":
		for _, part := range strings.FieldsFunc(name, func(r rune) bool { return r == '-' || r == '_' }) {
			if slices.Contains(dangerousOptions, part) && (assigned || strings.TrimSpace(rest) != "" || part == "exec") {
				f.add(RuleOption, at, at+len(word))
				return
			}
		}
		if assigned && (strings.ContainsAny(value, "/|;`$") || strings.HasPrefix(value, "~")) && !strings.Contains(value, "://") {
			f.add(RuleOption, at, at+len(word))
		}
	case len(word) > 2 && word[1] != '-' && letter(word[1]):
		attached := word[2:]
		switch {
		case slices.Contains(dangerousShort, name), strings.HasPrefix(name, "oproxycommand"), strings.HasPrefix(name, "opermitlocalcommand"), strings.HasPrefix(name, "olocalcommand"):
			f.add(RuleOption, at, at+len(word))
		case strings.IndexByte("/|~", attached[0]) >= 0, strings.HasPrefix(attached, "./"), strings.HasPrefix(attached, "../"):
			f.add(RuleOption, at, at+len(word))
		}
	case len(word) == 2 && letter(word[1]):
		next, _ := cutWord(strings.TrimLeft(rest, " \t"))
		if next != "" && (program(next) || commands[strings.ToLower(next)] == certain && strings.IndexByte("ceIxX", word[1]) >= 0 || word[1] == 'o' && (strings.HasPrefix(strings.ToLower(next), "proxycommand") || strings.HasPrefix(next, "/"))) {
			f.add(RuleOption, at, at+len(word))
		}
	}
}

// code looks for what runs commands in a language that is not the shell's.
func (f *free) code() {
	s := strings.ToLower(f.text)
	if len(s) != len(f.text) {
		s = f.text // offsets would not fit
	}
	for _, sign := range codeSigns {
		if k := strings.Index(s, sign); k >= 0 {
			f.add(RuleCode, k, k+len(sign))
		}
	}
	for from := 0; ; {
		k := strings.IndexByte(s[from:], '(')
		if k < 0 {
			return
		}
		at := from + k
		from = at + 1
		start := at
		for start > 0 && (letter(s[start-1]) || s[start-1] == '_') {
			start--
		}
		if !slices.Contains(codeCalls, s[start:at]) {
			continue
		}
		if next := strings.TrimLeft(s[at+1:], " "); next != "" && strings.IndexByte("'\"$`_\\", next[0]) >= 0 {
			f.add(RuleCode, start, at+1)
		}
	}
}

// unescape reads one layer of escapes: percent signs, \xHH, \uHHHH, \n, and characters
// that only look like ASCII ones.
func unescape(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }) >= 0 {
		s = norm.NFKC.String(s)
	}
	if !strings.ContainsAny(s, "%\\") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '%' && i+2 < len(s) && hexDigit(s[i+1]) >= 0 && hexDigit(s[i+2]) >= 0:
			b.WriteByte(byte(hexDigit(s[i+1])<<4 | hexDigit(s[i+2])))
			i += 2
		case s[i] == '\\' && i+3 < len(s) && s[i+1] == 'x' && hexDigit(s[i+2]) >= 0 && hexDigit(s[i+3]) >= 0:
			b.WriteByte(byte(hexDigit(s[i+2])<<4 | hexDigit(s[i+3])))
			i += 3
		case s[i] == '\\' && i+5 < len(s) && s[i+1] == 'u' && s[i+2] == '0' && s[i+3] == '0' && hexDigit(s[i+4]) >= 0 && hexDigit(s[i+5]) >= 0:
			b.WriteByte(byte(hexDigit(s[i+4])<<4 | hexDigit(s[i+5])))
			i += 5
		case s[i] == '\\' && i+1 < len(s) && (s[i+1] == 'n' || s[i+1] == 'r'):
			b.WriteByte('\n')
			i++
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

func hexDigit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}
