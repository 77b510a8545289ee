package command

import (
	"slices"
	"strings"
	"unicode/utf8"

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
