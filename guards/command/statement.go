package command

import (
	"slices"
	"strings"
)

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
