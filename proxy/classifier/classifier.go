// Package classifier asks a service of the operator's whether a text tries to steer the
// model that will read it. It knows no guard and decides nothing: what to ask about, and what
// becomes of an answer or of none, is for its caller.
//
// A question is a POST of {"text": …, "kind": …, "score": …} and its answer a 200 with the
// media type application/json and {"flagged": true, "score": 0.97}. Errors hold nothing of
// a text, nor of what the service said: it may repeat what it was shown.
package classifier

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"

	"github.com/go-json-experiment/json"

	"mcp-sidecar/proxy/identity"
)

// MaxText bounds the text of a question, and maxAnswer the body of an answer, in bytes.
const (
	MaxText   = 16 << 10
	maxAnswer = 4 << 10
)

// Question is what the service is asked about.
type Question struct {
	Text  string  `json:"text"`  // at most MaxText bytes, of what would be redacted nothing
	Kind  string  `json:"kind"`  // where it stands: "content", "structured", "error", "description", "instructions", "notification"
	Score float64 `json:"score"` // of the embedded model, 0 to 1
}

// Verdict is what the service says.
type Verdict struct {
	Flagged bool
	Score   float64 // 0 to 1; where the service gives none, 1 if it flags and 0 if not
}

// Client asks one service. It is safe for concurrent use.
type Client struct {
	url     string
	token   identity.Secret
	fetcher *identity.Fetcher
}

// New returns a client for the service at url: https, or http on this machine. No redirect is
// followed and no proxy of the environment used. The token is shown as a bearer token (RFC
// 6750); an empty one is not.
func New(url string, token identity.Secret) (*Client, error) {
	f, err := identity.NewFetcher(identity.FetchOptions{URLs: []string{url}, AllowLoopbackHTTP: true})
	if err != nil {
		return nil, err
	}
	return &Client{url: url, token: token, fetcher: f}, nil
}

// Close drops idle connections.
func (c *Client) Close() { c.fetcher.Close() }

// Why there is no verdict. None of them repeats what the service said.
var (
	ErrTime   = errors.New("the classifier did not answer in time")
	ErrSilent = errors.New("the classifier cannot be reached, or does not speak HTTP")
	ErrLong   = errors.New("the classifier's answer is too long")
	ErrForm   = errors.New("the classifier's answer does not have the form that it should have")
)

// Ask returns the verdict about q. It takes no longer than ctx allows, and never longer than
// five seconds.
func (c *Client) Ask(ctx context.Context, q Question) (Verdict, error) {
	body, err := json.Marshal(q)
	if err != nil || len(q.Text) > MaxText {
		return Verdict{}, errors.New("the text is not one to ask about")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return Verdict{}, ErrSilent
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	if !c.token.Empty() {
		req.Header.Set("Authorization", "Bearer "+c.token.Reveal())
	}
	resp, err := c.fetcher.Client().Do(req)
	if err != nil {
		return Verdict{}, reason(err, ErrSilent)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return Verdict{}, fmt.Errorf("the classifier answered with status %d", resp.StatusCode)
	}
	said, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return Verdict{}, reason(err, ErrForm)
	case len(said) > maxAnswer:
		return Verdict{}, ErrLong
	}
	if media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); media != "application/json" {
		return Verdict{}, ErrForm
	}
	return read(said)
}

// reason is why there was no answer, in words of our own.
func reason(err, otherwise error) error {
	var slow net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &slow) && slow.Timeout() {
		return ErrTime
	}
	return otherwise
}

// read reads an answer. What it lacks is not made up: an answer that does not say whether the
// text is flagged is none.
func read(said []byte) (Verdict, error) {
	var a struct {
		Flagged *bool    `json:"flagged"`
		Score   *float64 `json:"score"`
	}
	// This decoder refuses duplicate names and matches case exactly, so an answer has one
	// reading only.
	if json.Unmarshal(said, &a) != nil || a.Flagged == nil || a.Score != nil && (*a.Score < 0 || *a.Score > 1) {
		return Verdict{}, ErrForm
	}
	v := Verdict{Flagged: *a.Flagged}
	switch {
	case a.Score != nil:
		v.Score = *a.Score
	case v.Flagged:
		v.Score = 1
	}
	return v, nil
}
