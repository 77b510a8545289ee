package identity

import (
	"crypto/sha256"
	"fmt"
	"testing"
	"time"
)

func digestNumber(i int) digest { return sha256.Sum256(fmt.Append(nil, i)) }

// A full cache takes in nothing more, and gives up nothing that still holds.
func TestVerdictsAreBounded(t *testing.T) {
	var c verdicts
	begun := time.Unix(1000, 0)
	for i := range maxCached {
		c.put(digestNumber(i), verdict{until: begun.Add(time.Minute)}, begun)
	}
	c.put(digestNumber(-1), verdict{until: begun.Add(time.Hour)}, begun)
	if _, _, seen := c.find(digestNumber(-1), begun); seen || c.len() != maxCached {
		t.Errorf("%d entries, the last one taken in: %t", c.len(), seen)
	}
	if _, fresh, _ := c.find(digestNumber(0), begun); !fresh {
		t.Error("an old entry went for a new one")
	}
	c.put(digestNumber(0), verdict{until: begun.Add(time.Hour)}, begun)
	later := begun.Add(time.Minute)
	if _, fresh, seen := c.find(digestNumber(1), later); fresh || !seen {
		t.Errorf("an entry that is over: fresh %t, seen %t", fresh, seen)
	}
	c.put(digestNumber(-1), verdict{until: later.Add(time.Minute)}, later)
	if _, fresh, _ := c.find(digestNumber(-1), later); !fresh || c.len() != 2 {
		t.Errorf("what is over did not go: %d entries", c.len())
	}
	c.drop(digestNumber(-1))
	if _, _, seen := c.find(digestNumber(-1), later); seen {
		t.Error("not forgotten")
	}
}

// Looking for what is over costs a pass over everything, so a flood cannot ask for
// it at every token.
func TestVerdictsAreSweptSeldom(t *testing.T) {
	var c verdicts
	begun := time.Unix(1000, 0)
	for i := range maxCached {
		c.put(digestNumber(i), verdict{until: begun.Add(time.Second / 2)}, begun)
	}
	c.put(digestNumber(-1), verdict{until: begun.Add(time.Hour)}, begun)
	c.put(digestNumber(-1), verdict{until: begun.Add(time.Hour)}, begun.Add(sweepEvery-1))
	if c.len() != maxCached {
		t.Errorf("swept twice within a second: %d entries", c.len())
	}
	c.put(digestNumber(-1), verdict{until: begun.Add(time.Hour)}, begun.Add(sweepEvery))
	if c.len() != 1 {
		t.Errorf("not swept after a second: %d entries", c.len())
	}
}

// What was found out with other keys is forgotten.
func TestVerdictsOfAGeneration(t *testing.T) {
	var c verdicts
	now := time.Unix(1000, 0)
	old, next := &keySet{}, &keySet{leftOut: []string{"x"}}
	c.put(digestNumber(1), verdict{until: now.Add(time.Hour), keys: old}, now)
	c.put(digestNumber(2), verdict{until: now.Add(time.Hour), keys: next}, now)
	if _, _, seen := c.find(digestNumber(1), now); seen || c.len() != 1 {
		t.Error("a verdict of the generation before is still there")
	}
}
