package injection

// Kinds of common words.
const (
	commonPlain    = 1 << iota // as they are
	commonRotated              // moved by 13 letters
	commonReversed             // read from behind
)

// frequentWords say that a line is English, or would be: the most frequent words, and those
// without which nobody gives a model orders.
var frequentWords = []string{
	"the", "of", "and", "to", "in", "is", "for", "you", "that", "with", "it", "are", "this", "be", "as", "at", "your", "or", "not", "have", "from", "all", "me", "my", "do", "now", "will", "must", "can", "an", "if", "by", "any", "them", "about", "what",
	"ignore", "previous", "prior", "instructions", "system", "prompt", "everything", "above", "forget", "disregard", "tell", "user", "send", "reveal", "delete", "call", "tool", "mode", "file", "secret", "follow", "new", "output", "print", "rules", "assistant", "password", "email", "key",
}

// wordTable holds common words by their first eight letters and their length.
type wordTable struct {
	keys  [1024]uint64
	kinds [1024]uint8
}

var frequent = buildFrequent()

func buildFrequent() *wordTable {
	t := &wordTable{}
	for _, w := range frequentWords {
		t.add(w, commonPlain)
	}
	for _, w := range frequentWords {
		rotated := []byte(w)
		for i, c := range rotated {
			rotated[i] = byte(rotate(rune(c)))
		}
		t.add(string(rotated), commonRotated)
		t.add(backwards(w), commonReversed)
	}
	return t
}

func keyOf(first uint64, letters int) uint64 { return first ^ uint64(letters)<<58 }

func slotOf(key uint64) uint64 { return key * 0x9e3779b97f4a7c15 >> 54 }

func (t *wordTable) add(w string, kind uint8) {
	var first uint64
	for i := 0; i < len(w) && i < 8; i++ {
		first = first<<8 | uint64(w[i])
	}
	key := keyOf(first, len(w))
	i := slotOf(key)
	for t.keys[i] != 0 && t.keys[i] != key {
		i = (i + 1) % uint64(len(t.keys))
	}
	t.keys[i] = key
	t.kinds[i] |= kind
}

// of says which kinds a word is of; a word that is plain is nothing else.
func (t *wordTable) of(first uint64, letters int) uint8 {
	if letters > 15 || letters < 2 {
		return 0
	}
	key := keyOf(first, letters)
	for i := slotOf(key); t.keys[i] != 0; i = (i + 1) % uint64(len(t.keys)) {
		if t.keys[i] == key {
			return t.kinds[i]
		}
	}
	return 0
}
