package command

import "strings"

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
