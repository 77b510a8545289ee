package config

import "time"

// Classifier is a service of the operator's that is asked about texts of which the embedded
// model of the injection guard is not sure.
type Classifier struct {
	// URL is where questions are posted. Empty is refused.
	URL string `json:"url" jsonschema:"Where questions are posted; https, or http on loopback."`
	// TokenFile names the file with the bearer token that is shown there. Empty shows none.
	TokenFile string `json:"token_file,omitempty" jsonschema:"File with the bearer token that is shown there. Default: none."`
	// Timeout is how long a message may wait for all its answers. Zero means
	// DefaultClassifierTimeout.
	Timeout Duration `json:"timeout,omitempty" jsonschema:"How long a message may wait for all its answers, at most 5s. Default: 2s."`
	// Low is the score of the model from which a text is asked about. Empty means
	// DefaultClassifierLow.
	Low Decimal `json:"low,omitempty" jsonschema:"Score of the embedded model, 0 to 1, from which a text is asked about. Default: 0.25."`
	// High is the score from which it is reported without a question. Empty means the
	// threshold of the guard, above which it has no effect.
	High Decimal `json:"high,omitempty" jsonschema:"Score from which it is reported without a question. Default, and at most: where the injection guard reports by itself."`
	// OnError says what becomes of a text about which nobody answered. Zero is OnErrorFlag.
	OnError OnError `json:"on_error,omitempty" jsonschema:"What becomes of a text about which nobody answered: flag reports it (fails closed), pass lets it be (fails open). Either is recorded. Default: flag."`
}

// Defaults of Classifier.
const (
	DefaultClassifierTimeout = Duration(2 * time.Second)
	DefaultClassifierLow     = Decimal("0.25")
)

// OnError says what becomes of a text about which the classifier gave no answer.
type OnError uint8

// The zero value fails closed.
const (
	OnErrorFlag OnError = iota
	OnErrorPass
)

func (c *Config) checkClassifier(k *checker) {
	s := c.Classifier
	if s == nil {
		return
	}
	switch u, defect := parseURL(s.URL); {
	case s.URL == "":
		k.lacks("classifier.url", "is required")
	case defect != "":
		k.bad("classifier.url", "%s", defect)
	case secretParameter(u) != "":
		k.bad("classifier.url", "must not hold a secret; use token_file")
	case u.Scheme != "https" && !isLoopback(u.Hostname()):
		k.bad("classifier.url", "must be https; http is for loopback only")
	}
	k.file("classifier.token_file", s.TokenFile)
	k.within("classifier.timeout", s.Timeout, 10*time.Millisecond, 5*time.Second)
	low, high := s.Zone()
	k.unless(low > 0 && low < 1, "classifier.low", "must be above 0 and below 1")
	k.unless(s.High == "" || high > low && high <= 1, "classifier.high", "must be above low, and at most 1")
	checkEnum(k, "classifier.on_error", onErrorNames, s.OnError)
}

// Zone are Low, with its default, and High; 0 where that is not given.
func (s *Classifier) Zone() (low, high float64) {
	of := func(d Decimal) float64 { f, _ := d.Rat().Float64(); return f }
	low = of(DefaultClassifierLow)
	if s.Low != "" {
		low = of(s.Low)
	}
	if s.High != "" {
		high = of(s.High)
	}
	return low, high
}
