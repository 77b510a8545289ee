package injection

import (
	_ "embed"
	"encoding/binary"
	"errors"
	"math"
	"sync"
)

// The model is a linear one: each feature of a text has a weight, and what counts is the
// window of the text whose weights say most. It was trained by guards/injection/train.
const (
	Window      = 48 // tokens
	stride      = 8  // tokens between windows that are looked at
	MinFeatures = 80 // keeps a few words from saying much
	fewest      = 12 // features of a window that says anything
)

//go:embed model.bin
var modelFile []byte

// Model holds weights.
type Model struct {
	Bias, Scale float64
	// Threshold is the score from which a text is reported, and Strict the one for
	// descriptions, which have no reason to speak to anybody. From 0 to 1.
	Threshold, Strict float64
	Weights           []int8 // one for each bucket
}

// modelMagic begins a file of weights.
const modelMagic = "mcp-sidecar/injection/1\n"

// Marshal is the file of the model.
func (m *Model) Marshal() []byte {
	b := []byte(modelMagic)
	for _, v := range []float64{m.Bias, m.Scale, m.Threshold, m.Strict} {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
	}
	for _, w := range m.Weights {
		b = append(b, byte(w))
	}
	return b
}

// ErrModel is a file that holds no model.
var ErrModel = errors.New("not a model")

// ParseModel reads what Marshal wrote.
func ParseModel(b []byte) (*Model, error) {
	const head = len(modelMagic) + 4*8
	if len(b) != head+Buckets || string(b[:len(modelMagic)]) != modelMagic {
		return nil, ErrModel
	}
	m := &Model{Weights: make([]int8, Buckets)}
	for i, v := range []*float64{&m.Bias, &m.Scale, &m.Threshold, &m.Strict} {
		*v = math.Float64frombits(binary.LittleEndian.Uint64(b[len(modelMagic)+8*i:]))
	}
	for i, w := range b[head:] {
		m.Weights[i] = int8(w)
	}
	return m, nil
}

// model is the one of this program.
var model = sync.OnceValue(func() *Model {
	m, err := ParseModel(modelFile)
	if err != nil {
		panic(err) // the file is part of the program, and a test reads it
	}
	return m
})

// Score says from 0 to 1 how much the window of text that says most looks like an attempt
// to steer whoever reads it, and where that window is.
func (m *Model) Score(text string) (score float64, start, end int) {
	t := Tokens{text: text}
	var (
		sums, counts, starts [Window]int
		sum, count           int
		best                 = math.Inf(-1)
		n                    int
	)
	judge := func() {
		oldest := starts[0]
		if n > Window {
			oldest = starts[n%Window]
		}
		if count < fewest {
			return
		}
		if v := m.Bias + m.Scale*float64(sum)/math.Sqrt(float64(max(count, MinFeatures))); v > best {
			best, start, end = v, oldest, t.pos
		}
	}
	for t.Next() {
		at := 0
		for _, f := range t.Features() {
			at += int(m.Weights[f])
		}
		slot := n % Window
		sum, count = sum+at-sums[slot], count+t.n-counts[slot]
		sums[slot], counts[slot], starts[slot] = at, t.n, t.start
		if n++; n%stride == 0 {
			judge()
		}
	}
	if n%stride != 0 {
		judge()
	}
	return logistic(best - Discount(n)), start, end // 0 where nothing was judged
}

// Discount is what the score of the best window of a text loses, in log-odds: the best of
// many harmless windows says more than the best of a few.
func Discount(tokens int) float64 {
	return perDoubling * math.Log2(max(1, float64(tokens)/(2*Window)))
}

// perDoubling was read off harmless prose of 1 KB to 1 MB.
const perDoubling = 0.35

// logistic maps a log-odds to a probability.
func logistic(v float64) float64 { return 1 / (1 + math.Exp(-v)) }
