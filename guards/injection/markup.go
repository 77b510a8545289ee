package injection

// mark is markup that plays a part in a conversation of its own: chat templates
// of models, fake system messages, the tag of poisoned tool descriptions.
type mark struct {
	rule rule
	word string // folded; its first character is < or [
}

var marks = []mark{
	{fakeSystem, "<|im_start|>"},
	{fakeSystem, "<|im_end|>"},
	{fakeSystem, "<|system|>"},
	{fakeSystem, "<|assistant|>"},
	{fakeSystem, "<|user|>"},
	{fakeSystem, "<|start_header_id|>"},
	{fakeSystem, "<|eot_id|>"},
	{fakeSystem, "<|endoftext|>"},
	{fakeSystem, "<<sys>>"},
	{fakeSystem, "<system_prompt>"},
	{fakeSystem, "<system-prompt>"},
	{fakeSystem, "<system_message>"},
	{fakeSystem, "<system_instructions>"},
	{fakeSystem, "<system-reminder>"},
	{fakeSystem, "[inst]"},
	{fakeSystem, "[/inst]"},
	{fakeSystem, "[system]:"},
	{fakeSystem, "[systemmessage]"},
	{fakeSystem, "[systemoverride]"},
	{toolHijack, "<important>"},
}

// headings open a block in the formats that instruction models were trained on,
// behind one or more # at the start of a line.
var headings = []string{"system:", "systemprompt:", "systemmessage:", "instruction:", "newinstructions:", "assistant:"}

// findMarkup reports each kind of markup once, and look-alikes of our delimiters.
// In a trusted text only the latter count.
func findMarkup(s string, trusted bool, seen *sightings) {
	for i := suspect(s, 0); i < len(s); i = suspect(s, i+1) {
		c, width := decode(s[i:])
		seen.work += width
		if c != '<' && c != '[' && c != '#' {
			continue
		}
		if seen.first[breakout].end == 0 {
			if l, ok := lookalikeAt(s, i, c, width, &seen.work); ok {
				seen.add(breakout, l.start, l.end)
			}
		}
		switch {
		case trusted:
		case c == '#':
			findHeading(s, i, width, seen)
		default:
			findMark(s, i, c, width, seen)
		}
	}
}

// findMark looks for a mark whose bracket c stands at i.
func findMark(s string, i int, c byte, width int, seen *sightings) {
	second := firstShown(s[i+width:], &seen.work)
	for _, m := range marks {
		if m.word[0] != c || m.word[1] != second {
			continue
		}
		if end := matchWord(s, i+width, "", m.word[1:], &seen.work); end >= 0 {
			seen.add(m.rule, i, end)
			return
		}
	}
}

// firstShown returns the first character of s that is no blank, folded.
func firstShown(s string, work *int) byte {
	for i := 0; i < len(s); {
		c, width := decode(s[i:])
		*work += width
		if c != ignored && c > ' ' {
			return c
		}
		i += width
	}
	return 0
}

// findHeading looks for a heading whose last # stands at i.
func findHeading(s string, i, width int, seen *sightings) {
	for _, h := range headings {
		end := matchWord(s, i+width, "", h, &seen.work)
		if end < 0 {
			continue
		}
		first := i
		for first > 0 && s[first-1] == '#' {
			first--
			seen.work++
		}
		if startsLine(s[:first], &seen.work) {
			seen.add(fakeSystem, first, end)
		}
		return
	}
}
