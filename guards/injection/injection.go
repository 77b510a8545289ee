// Package injection recognises text that tries to steer the model that reads
// it, and keeps such text from leaving its place.
//
// Two different jobs:
//
//   - Find reports signatures (families of phrases, fake chat markup, hidden
//     comments), also in what is encoded, and what only a trained model takes
//     for an attack. Neither sees everything, so a silent Find proves nothing.
//   - Change does not depend on Find. It puts untrusted text between delimiters
//     and makes look-alikes of these delimiters harmless, whoever wrote them.
//
// Matching reads through case, white space, zero-width, full-width and
// look-alike characters. Every byte is read a bounded number of times.
package injection

import (
	"cmp"
	"slices"

	"mcp-sidecar/guards"
)

// Name is the guard's name in configuration, findings and audit records.
const Name = "injection"

// Guard marks and delimits what an upstream wrote.
type Guard struct{}

var _ guards.Output = Guard{}

// New returns the guard. It has no state and may be used concurrently.
func New() Guard { return Guard{} }

// Name implements [guards.Output].
func (Guard) Name() string { return Name }

// Find implements [guards.Output]. The operator vouches for a trusted text's
// meaning, but not for its bytes: look-alike delimiters are reported in it too.
func (Guard) Find(t guards.Text) []guards.Finding {
	if t.Kind == guards.Binary {
		return nil
	}
	seen := sightings{except: t.Except}
	findMarkup(t.Value, t.Trusted, &seen)
	if t.Trusted {
		return seen.findings()
	}
	findPhrases(t.Value, &seen)
	if t.Kind == guards.Metadata { // names and words of a schema are too short to hide anything
		return seen.findings()
	}
	seen.look(t.Value, leastOf(t.Kind))
	return seen.findings()
}

// look reads text in every other way, and asks the model where no signature has spoken: a
// finding names the plainest reason there is.
func (s *sightings) look(text string, least float64) {
	s.ask(text, 0, 0, least)
	s.budget = maxMade*len(text) + freeMade
	h := hiding{seen: s, least: least, depth: 1}
	h.find(text)
	if s.signature() {
		s.first[suspected].end = 0
	}
}

// signature says whether any has spoken.
func (s *sightings) signature() bool {
	for r, f := range s.first {
		if f.end > 0 && rule(r) != suspected {
			return true
		}
	}
	return false
}

// ask shows a text to the model, unless a signature has spoken. The text is what the bytes
// from start to end say, or stands there itself where end is 0.
func (s *sightings) ask(text string, start, end int, least float64) {
	if s.signature() || s.except.Has(Suspected) {
		return
	}
	score, from, to := model().Score(text)
	if score < least || score <= s.score {
		return
	}
	if end == 0 {
		start, end = from, to
	}
	s.score = score
	s.first[suspected].start, s.first[suspected].end = start, end
}

// Score says from 0 to 1 how much text looks like an attempt to steer whoever reads it. A
// signature says 1.
func Score(text string) float64 {
	var seen sightings
	findMarkup(text, false, &seen)
	findPhrases(text, &seen)
	seen.look(text, 0)
	if seen.signature() {
		return 1
	}
	return seen.score
}

// Doubt is what the model says of a text.
type Doubt struct {
	Score      float64 // 0 where the model is not asked
	Least      float64 // score from which Find reports
	Start, End int     // of what says most, as in a finding
}

// Doubts is what the model says of t where no signature does: for whoever wants to ask somebody
// else where the model is not sure. That the operator lets be what the model suspects changes
// nothing of it.
func Doubts(t guards.Text) Doubt {
	d := Doubt{Least: leastOf(t.Kind)}
	if t.Kind == guards.Binary || t.Kind == guards.Metadata || t.Trusted {
		return d
	}
	seen := sightings{except: func(rule string) bool { return rule != Suspected && t.Except.Has(rule) }}
	findMarkup(t.Value, t.Trusted, &seen)
	findPhrases(t.Value, &seen)
	seen.look(t.Value, 0)
	if f := seen.first[suspected]; !seen.signature() {
		d.Score, d.Start, d.End = seen.score, f.start, f.end
	}
	return d
}

// leastOf is the score from which the model's suspicion is reported.
func leastOf(k guards.Kind) float64 {
	if k == guards.Description || k == guards.Instructions {
		return model().Strict
	}
	return model().Threshold
}

// Find returns at most one finding for each rule, the rule's first occurrence
// in s, ordered by Start and without overlap.
func Find(s string) []guards.Finding {
	return Guard{}.Find(guards.Text{Value: s})
}

// rule is a family of signatures.
type rule uint8

const (
	ignorePrevious rule = iota
	roleOverride
	exfiltration
	promptProbe
	toolHijack
	fakeSystem
	hiddenText
	breakout
	suspected // by the model alone
	rules
)

// Suspected is the rule of what only the model finds: no phrase that is known, but the
// words of those who want a model to do something else.
const Suspected = "suspected-instructions"

// names are the rules' stable ids.
var names = [rules]string{
	ignorePrevious: "ignore-previous-instructions",
	roleOverride:   "role-override",
	exfiltration:   "data-exfiltration",
	promptProbe:    "system-prompt-probe",
	toolHijack:     "tool-hijack",
	fakeSystem:     "fake-system-block",
	hiddenText:     "hidden-text",
	breakout:       "delimiter-breakout",
	suspected:      Suspected,
}

// labels are made once: a finding allocates no text of its own.
var labels = buildLabels()

func buildLabels() (list [rules]string) {
	for r, name := range names {
		list[r] = "prompt_injection:" + name
	}
	return list
}

// sightings holds each rule's first occurrence. A rule with end 0 saw nothing.
type sightings struct {
	first  [rules]struct{ start, end int }
	score  float64 // of suspected
	budget int     // bytes that may still be decoded
	except guards.Except
	work   int // characters and tokens read by matchers; a test holds it linear
}

func (s *sightings) add(r rule, start, end int) {
	if s.except.Has(names[r]) {
		return
	}
	if f := &s.first[r]; f.end == 0 || start < f.start {
		f.start, f.end = start, end
	}
}

// findings lists what was seen.
func (s *sightings) findings() []guards.Finding {
	var list []guards.Finding
	for r, f := range s.first {
		if f.end > 0 {
			list = append(list, guards.Finding{
				Guard: Name, Rule: names[r], Label: labels[r], Start: f.start, End: f.end, Score: s.scoreOf(rule(r)),
			})
		}
	}
	return separate(list)
}

func (s *sightings) scoreOf(r rule) float64 {
	if r == suspected {
		return s.score
	}
	return 1
}

// separate orders findings and cuts overlaps, so that every byte belongs to one
// of them: a finding ends where the next one starts; of two with the same start
// the longer one goes on behind the shorter.
func separate(list []guards.Finding) []guards.Finding {
	for i := 0; i+1 < len(list); {
		slices.SortStableFunc(list[i:], func(a, b guards.Finding) int {
			return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.End, b.End))
		})
		switch here, next := &list[i], &list[i+1]; {
		case next.Start >= here.End:
			i++
		case next.Start > here.Start:
			here.End = next.Start
			i++
		case next.End > here.End:
			next.Start = here.End
		default: // the very same bytes
			list = slices.Delete(list, i+1, i+2)
		}
	}
	return list
}
