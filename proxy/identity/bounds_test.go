package identity

import (
	"testing"
	"time"
)

// The bounds that the documentation states. Other tests use the names, so they
// would follow a change of the numbers.
func TestStatedBounds(t *testing.T) {
	for name, row := range map[string]struct{ got, want time.Duration }{
		"clock skew":                      {skew, 30 * time.Second},
		"life of an introspected token":   {positiveLife, 30 * time.Second},
		"life of an unknown token":        {negativeLife, 5 * time.Second},
		"one fetch":                       {fetchTimeout, 5 * time.Second},
		"one fetch of keys":               {keysTimeout, 4 * time.Second},
		"refresh of keys":                 {refreshEvery, 15 * time.Minute},
		"wait for the refresh":            {refreshGrace, time.Minute},
		"retry":                           {retryEvery, 2 * time.Second},
		"fetches for unknown keys":        {unknownEvery, 30 * time.Second},
		"stale keys":                      {defaultStale, 24 * time.Hour},
		"life of a signed token":          {defaultLongest, 24 * time.Hour},
		"files":                           {fileEvery, time.Second},
		"strangers in ten seconds":        {strangersPerSecond * 10, 500},
		"strangers at once after a pause": {strangersBurst, 100},
		"strangers at the same time":      {strangersAtOnce, 16},
		"places of a cache":               {maxCached, 10_000},
		"body":                            {maxFetched, 1 << 20},
		"connections":                     {maxConns, 32},
	} {
		if row.got != row.want {
			t.Errorf("%s: %d, the documentation says %d", name, row.got, row.want)
		}
	}
}
