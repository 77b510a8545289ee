package main

import (
	"slices"
	"strings"
	"testing"
)

// A comparison of transcripts sees every way in which two can differ.
func TestCompareTranscripts(t *testing.T) {
	messages := func(answers ...string) transcript {
		var all []heard
		for i, body := range answers {
			all = append(all, heard{kind: answer, step: string(rune('a' + i)), body: []byte(body)})
		}
		return write(all)
	}
	with := func(t transcript, kind, body string) transcript {
		all := []heard{{kind: kind, body: []byte(body)}}
		more := write(all)
		t.questions = append(slices.Clone(t.questions), more.questions...)
		t.notifications = append(slices.Clone(t.notifications), more.notifications...)
		return t
	}
	one := messages(`{"id":"a","result":{"n":9007199254740993}}`, `{"id":"b","result":{}}`)
	asked := with(one, question, `{"id":1,"method":"roots/list"}`)
	noted := with(one, notification, `{"method":"notifications/message"}`)
	changed := `{"method":"notifications/tools/list_changed"}`
	for _, row := range []struct {
		name            string
		direct, through transcript
		upstream        string
		want            string // the start of what is found; empty for nothing
	}{
		{"the same", one, one, "stdio", ""},
		{"an answer is missing", one, messages(`{"id":"a","result":{"n":9007199254740993}}`), "stdio", "b: missing"},
		{"an answer more", messages(`{"id":"a","result":{"n":9007199254740993}}`), one, "stdio", "b: an answer that is not there directly"},
		{"a rounded number", one, messages(`{"id":"a","result":{"n":9007199254740992}}`, `{"id":"b","result":{}}`), "stdio", "a /result/n: 9007199254740992"},
		{"a number in another way", one, messages(`{"id":"a","result":{"n":9007199254740993.0}}`, `{"id":"b","result":{}}`), "stdio", "a /result/n: 9007199254740993.0"},
		{"a null more", one, messages(`{"id":"a","result":{"n":9007199254740993}}`, `{"id":"b","result":{"x":null}}`), "stdio", "b: written in another way"},
		{"a member more", one, messages(`{"id":"a","result":{"n":9007199254740993}}`, `{"id":"b","result":{"x":0}}`), "stdio", "b /result/x: 0 instead of nothing"},
		{"another order", one, messages(`{"result":{"n":9007199254740993},"id":"a"}`, `{"id":"b","result":{}}`), "stdio", "a: written in another way"},
		{"a blank more", one, messages(`{"id":"a","result":{"n": 9007199254740993}}`, `{"id":"b","result":{}}`), "stdio", "a: written in another way"},
		{"another id of the server", messages(`{"x":"0c0ffee0-1111-4222-8333-444444444444"}`), messages(`{"x":"0c0ffee0-1111-4222-9333-555555555555"}`), "stdio", ""},
		{"a question is missing", asked, one, "stdio", "question 1: missing"},
		{"a question more", one, asked, "stdio", "question 1: not there directly"},
		{"another question", asked, with(one, question, `{"id":2,"method":"roots/list"}`), "stdio", "question 1 /id: 2 instead of 1"},
		{"a notification is missing", noted, one, "stdio", "notification missing"},
		{"a notification more", one, noted, "stdio", "notification that is not there directly"},
		{"the same notification twice", noted, with(noted, notification, `{"method":"notifications/message"}`), "stdio", "notification that is not there directly"},
		{"tolerated", with(one, notification, changed), one, "http", ""},
		{"not tolerated here", with(one, notification, changed), one, "stdio", "notification missing"},
	} {
		found := compareTranscripts("a server", pair{"stdio", row.upstream}, true, row.direct, row.through, make([]bool, len(changes)))
		if row.want == "" && len(found) > 0 || row.want != "" && (len(found) != 1 || !strings.HasPrefix(found[0], row.want)) {
			t.Errorf("%s: %q, want %q", row.name, found, row.want)
		}
	}
}

// What a guard changes is excused only at its place, of its server, and with a
// preset that enforces.
func TestChanges(t *testing.T) {
	c := change{server: "s", step: "get 1", path: "/result/_meta"}
	for _, row := range []struct {
		server, step, path string
		want               bool
	}{
		{"s", "get 1", "/result/_meta", true},
		{"other", "get 1", "/result/_meta", false},
		{"s", "get 2", "/result/_meta", false},
		{"s", "get 1", "/result/_meta/x", false},
		{"s", "get 1", "/result", false},
	} {
		if got := c.covers(row.server, row.step, difference{path: row.path}); got != row.want {
			t.Errorf("%+v: %v", row, got)
		}
	}
	direct, through := []byte(`{"result":{"content":[{"text":"key"}]}}`), []byte(`{"result":{"content":[{"text":"no"}]}}`)
	used := make([]bool, len(changes))
	if found := compareMessages("server-everything", "get-env 1", true, direct, through, used); len(found) > 0 || !slices.Contains(used, true) {
		t.Errorf("%q, used %v", found, used)
	}
	if found := compareMessages("server-everything", "get-env 1", false, direct, through, used); len(found) != 1 {
		t.Errorf("with preset observe %q", found)
	}
	for _, c := range changes {
		if c.server == "" || c.step == "" || c.path == "" || c.reason == "" {
			t.Errorf("%+v lacks something", c)
		}
	}
}

// An errand has ended well only when the file is what was meant, or, where the
// model saw only a part of it, was refused.
func TestJudge(t *testing.T) {
	e, secret := errand{file: "a colour"}, errand{file: "a colour", flagged: true}
	refused, done := envelope{Result: []byte(`{"isError":true}`)}, envelope{Result: []byte(`{}`)}
	for _, row := range []struct {
		name     string
		e        errand
		got, way string
		written  envelope
		good     bool
	}{
		{"as meant", e, "a color", "write_file", done, true},
		{"not written", e, "a colour", "write_file", done, false},
		{"refused", e, "a colour", "write_file", refused, false},
		{"something else", e, "a [REDACTED:x]", "write_file", done, false},
		{"flagged, as meant", secret, "a color", "write_file", done, true},
		{"flagged, refused", secret, "a colour", "write_file", refused, true},
		{"flagged, but an edit", secret, "a colour", "edit_file", refused, false},
		{"flagged, neither", secret, "a colour", "write_file", done, false},
		{"flagged, destroyed", secret, "a [REDACTED:x]", "write_file", refused, false},
	} {
		if problem := row.e.judge(row.got, row.way, row.written); (problem == "") != row.good {
			t.Errorf("%s: %q", row.name, problem)
		}
	}
}

func TestReadEvents(t *testing.T) {
	var got []string
	stream := ": hello\n\nid: 1\ndata:\n\nevent: message\ndata: {\"a\":\ndata: 1}\nid: 2\n\ndata:{}\r\n\ndata: cut off"
	if err := readEvents(strings.NewReader(stream), func(b []byte) { got = append(got, string(b)) }); err != nil {
		t.Fatal(err)
	}
	if want := []string{"{\"a\":\n1}", "{}"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
