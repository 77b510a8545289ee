package canary

import "testing"

// What was seen is found where it was seen, once.
func TestRecord(t *testing.T) {
	token, pieces := Sample()
	var w Watch
	w.Add("sample", token)
	for name, piece := range pieces {
		var r Record
		r.Hear("here", "nothing", 7)
		r.Hear("there", "before", struct{ Text string }{piece})
		if found := r.Leaks(&w); len(found) != 1 || found[0][:11] != "there holds" {
			t.Errorf("%s: %q", name, found)
		}
		if found := r.Leaks(&w); found != nil {
			t.Errorf("%s, once more: %q", name, found)
		}
	}
}
