package policy

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/casbin/casbin-pg-adapter"
	"github.com/go-pg/pg/v10"

	"mcp-sidecar/scenarios/pgserver"
	"mcp-sidecar/scenarios/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// stores returns two stores of one database without rows.
func stores(t *testing.T) (d *pgtest.Database, a, b *Postgres) {
	t.Helper()
	d = pgtest.DB(t)
	a, b = openPG(t, d.URL), openPG(t, d.URL)
	if err := a.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return d, a, b
}

func openPG(t *testing.T, url string) *Postgres {
	t.Helper()
	s, err := OpenPostgres(PostgresOptions{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// must puts rows in a store.
func must(t *testing.T, s Store, rows ...[]string) string {
	t.Helper()
	revision, err := s.Replace(context.Background(), rows, "")
	if err != nil {
		t.Fatal(err)
	}
	return revision
}

// held is what a store holds.
func held(t *testing.T, s Store) (rows [][]string) {
	t.Helper()
	got, err := s.Rows(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range got.Rows {
		rows = append(rows, r.Fields)
	}
	return rows
}

func TestPostgresStore(t *testing.T) {
	storeContract(t, func(t *testing.T) (Store, Store) {
		_, a, b := stores(t)
		return a, b
	})
}

// adapter is casbin-pg-adapter alone, on the same table.
func adapter(t *testing.T, url string) *pgadapter.Adapter {
	t.Helper()
	o, err := pg.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	db := pg.Connect(o)
	t.Cleanup(func() { _ = db.Close() })
	a, err := pgadapter.NewAdapterByDB(db, pgadapter.SkipTableCreate(), pgadapter.WithTableName(policyTable))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// The table is casbin-pg-adapter's: what one writes the other reads, and removes.
func TestPostgresIsTheAdaptersTable(t *testing.T) {
	d, s, _ := stores(t)
	bare := adapter(t, d.URL)
	must(t, s, someRows...)
	e, err := NewEnforcer()
	if err != nil {
		t.Fatal(err)
	}
	if err := bare.LoadPolicy(e.GetModel()); err != nil {
		t.Fatal(err)
	}
	rows, err := rowsOf(e.GetModel(), func(string, []string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	var read [][]string
	for _, kind := range rowTypes {
		for _, r := range rows[kind] {
			read = append(read, append([]string{kind}, r.cols...))
		}
	}
	if !reflect.DeepEqual(read, someRows) {
		t.Errorf("the adapter reads %q", read)
	}
	added := []string{"p", "role:z", "y", "call", "deny"}
	if err := bare.AddPolicies("p", "p", [][]string{added[1:]}); err != nil {
		t.Fatal(err)
	}
	if got := held(t, s); !reflect.DeepEqual(got, append(slices.Clone(someRows), added)) {
		t.Errorf("%q", got)
	}
	for _, r := range someRows { // by its id, which is the adapter's
		if err := bare.RemovePolicy(r[0][:1], r[0], r[1:]); err != nil {
			t.Fatal(err)
		}
	}
	if got := held(t, s); !reflect.DeepEqual(got, [][]string{added}) {
		t.Errorf("left are %q", got)
	}
}

// None of the adapter's defects shows through.
func TestPostgresAdapterDefects(t *testing.T) {
	allow := func(action string) []string { return []string{"p", "role:a", "x", action, "allow"} }
	t.Run("A: what was updated can be revoked", func(t *testing.T) {
		d, s, _ := stores(t)
		must(t, s, allow("read"))
		if err := adapter(t, d.URL).UpdatePolicy("p", "p", allow("read")[1:], allow("write")[1:]); err != nil {
			t.Fatal(err)
		}
		must(t, s, allow("list"))
		if got := held(t, s); !reflect.DeepEqual(got, [][]string{allow("list")}) {
			t.Errorf("%q came back", got)
		}
	})
	t.Run("B: what was seeded with another id can be revoked, and is there once", func(t *testing.T) {
		d, s, _ := stores(t)
		insert := "insert into sidecar.casbin_rule (id, ptype, v0, v1, v2, v3) values (?, 'p', 'role:a', 'x', 'read', 'allow')"
		d.Exec(insert, "1")
		if err := d.Try(insert, "2"); err == nil {
			t.Error("the same row twice")
		}
		must(t, s, allow("list"))
		if got := held(t, s); !reflect.DeepEqual(got, [][]string{allow("list")}) {
			t.Errorf("%q", got)
		}
	})
	t.Run("C: a row that cannot be read cannot be written", func(t *testing.T) {
		d, s, _ := stores(t)
		must(t, s, someRows...)
		for _, v1 := range []string{"a,b", `a"b`, "a\nb", "", " a", "a "} {
			if err := d.Try("insert into sidecar.casbin_rule (id, ptype, v0, v1, v2, v3) values (?, 'p', 'role:a', ?, 'read', 'allow')", v1, v1); err == nil {
				t.Errorf("%q was written", v1)
			}
		}
		if got := held(t, s); !reflect.DeepEqual(got, someRows) {
			t.Errorf("%q", got)
		}
	})
	t.Run("D and E: two rows never read the same", func(t *testing.T) {
		d, s, _ := stores(t)
		for _, bad := range [][]string{{"g2", "doc:evil,admin-docs", "public"}, {"p", "role:x", "a,b", "c", "allow"}, {"p", "role:x,a", "b", "c", "allow"}} {
			if _, err := s.Replace(t.Context(), [][]string{bad}, ""); err == nil {
				t.Errorf("%q was written", bad)
			}
			if err := d.Try("insert into sidecar.casbin_rule (id, ptype, v0, v1) values ('x', ?, ?, ?)", bad[0], bad[1], bad[2]); err == nil {
				t.Errorf("%q was written beside the store", bad)
			}
		}
	})
	t.Run("F: rows of every type are read", func(t *testing.T) {
		_, s, _ := stores(t)
		must(t, s, []string{"p", "role:a", "secrets", "read", "allow"}, []string{"p", "role:a", "docs/x", "read", "deny"}, []string{"g2", "docs/x", "secrets"}, []string{"g", "user:b", "role:a"})
		rows, err := s.Rows(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		e, err := CompileRows(rows, nil)
		if err != nil || e.Decide("user:b", Permission{"docs/x", "read"}).Allowed {
			t.Errorf("%v: a deny got lost", err)
		}
	})
	t.Run("G: one connection is enough", func(t *testing.T) {
		d, s, _ := stores(t)
		role, url := d.Role("writer")
		d.Exec("grant usage on schema sidecar to " + role)
		d.Exec("grant select, insert, delete on sidecar.casbin_rule to " + role)
		d.Exec("grant select, update on sidecar.policy_revision to " + role) // to lock it
		d.Exec("alter role " + role + " connection limit 1")
		w := openPG(t, url)
		must(t, w, someRows...)
		if got := held(t, w); !reflect.DeepEqual(got, someRows) || !reflect.DeepEqual(held(t, s), someRows) {
			t.Errorf("%q", got)
		}
	})
	t.Run("H: nothing is removed by a pattern that is empty", func(t *testing.T) {
		_, s, _ := stores(t)
		must(t, s, someRows...)
		for _, rows := range [][][]string{{{}}, {{"p"}}, {{"p", "", "", "", ""}}, {{""}}} {
			if _, err := s.Replace(t.Context(), rows, ""); err == nil {
				t.Errorf("%q was written", rows)
			}
		}
		if got := held(t, s); !reflect.DeepEqual(got, someRows) {
			t.Errorf("%q", got)
		}
	})
	t.Run("I: the database is the one that is named, and none is made", func(t *testing.T) {
		d, s, _ := stores(t)
		must(t, s, someRows...)
		if n := d.Count("select count(*) from sidecar.casbin_rule"); n != len(someRows) {
			t.Errorf("%d rows", n)
		}
		if n := d.Count("select count(*) from pg_database where datname = 'casbin'"); n != 0 {
			t.Error("a database named casbin was made")
		}
	})
	t.Run("J: rows have an order", func(t *testing.T) {
		d, s, _ := stores(t)
		var rows [][]string
		for _, i := range rand.Perm(200) {
			rows = append(rows, allow("act"+strconv.Itoa(i)))
		}
		must(t, s, rows...)
		d.Exec("update sidecar.casbin_rule set id = id || '-touched' where v2 = 'act7'") // moves it in the heap
		if got := held(t, s); !reflect.DeepEqual(got, rows) {
			t.Errorf("%q", got)
		}
	})
	t.Run("K: two writers do not make a union", func(t *testing.T) {
		_, a, b := stores(t)
		first := must(t, a, allow("none"))
		var wait sync.WaitGroup
		for i, s := range []*Postgres{a, b} {
			wait.Go(func() {
				rows := [][]string{allow("one" + strconv.Itoa(i)), allow("two" + strconv.Itoa(i))}
				if _, err := s.Replace(context.Background(), rows, first); err != nil && !errors.Is(err, ErrChanged) {
					t.Error(err)
				}
			})
		}
		wait.Wait()
		if got := held(t, a); len(got) != 2 || got[0][3][3:] != got[1][3][3:] {
			t.Errorf("%q", got)
		}
	})
}

// The table takes exactly the rows that the grammar does, whoever writes.
func TestPostgresConstraints(t *testing.T) {
	d, _, _ := stores(t)
	pieces := []string{"", "user:a", "role:a", "role:", "user:", "admin", "docs/*", "*", "docs/read", "srv/*_read", "a/b/*", "/*", "read", "allow", "deny", "Deny", "a b", " a", "a ", "a,b", "a\n", "a\t", `a"`, "ä", "user:ä", "role:*", "a*", "x:y@z.w-v_u/t", strings.Repeat("a", 512), strings.Repeat("a", 513), "role:" + strings.Repeat("a", 508)}
	type tried struct {
		kind string
		cols [6]string
	}
	var all []tried
	for _, a := range pieces {
		all = append(all, tried{"p", [6]string{a, "x", "read", "allow"}}, tried{"p", [6]string{"role:a", a, "read", "allow"}}, tried{"p", [6]string{"role:a", "x", a, "allow"}},
			tried{"p", [6]string{"role:a", "x", "read", a}}, tried{"p", [6]string{"role:a", "x", "read", "allow", a}}, tried{"p", [6]string{"role:a", "x", "read", "allow", "", a}},
			tried{"g", [6]string{a, "role:a"}}, tried{"g", [6]string{"user:a", a}}, tried{"g", [6]string{"user:a", "role:a", a}}, tried{"g", [6]string{"user:a", "role:a", "", a}},
			tried{"g2", [6]string{a, "x"}}, tried{"g2", [6]string{"x", a}}, tried{"g2", [6]string{"x", "y", a}}, tried{a, [6]string{"user:a", "role:a"}})
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		r := tried{kind: []string{"p", "g", "g2", "p2"}[random.IntN(4)]}
		for i := range 1 + random.IntN(5) {
			r.cols[i] = pieces[random.IntN(len(pieces))]
		}
		all = append(all, r)
	}
	accepted := 0
	for _, r := range all {
		s := stored{Ptype: r.kind, V0: r.cols[0], V1: r.cols[1], V2: r.cols[2], V3: r.cols[3], V4: r.cols[4], V5: r.cols[5]}
		_, problems := parseRow(s.fields())
		want := len(problems) == 0
		d.Exec("delete from sidecar.casbin_rule")
		err := d.Try("insert into sidecar.casbin_rule (id, ptype, v0, v1, v2, v3, v4, v5) values ('x', ?, ?, ?, ?, ?, ?, ?)", r.kind, r.cols[0], r.cols[1], r.cols[2], r.cols[3], r.cols[4], r.cols[5])
		if (err == nil) != want {
			t.Errorf("%s %q: %v, the grammar says %q", r.kind, r.cols, err, problems)
		}
		if err == nil {
			accepted++
		}
	}
	if accepted < 50 {
		t.Errorf("only %d rows were accepted: nothing is compared", accepted)
	}
	for _, column := range []string{"ptype", "v0", "v3", "v5"} {
		if err := d.Try("insert into sidecar.casbin_rule (id, ptype, v0, v1, v2, v3) values ('n', 'p', 'role:a', 'x', 'read', 'allow'); update sidecar.casbin_rule set " + column + " = null"); err == nil {
			t.Errorf("%s may be null", column)
		}
	}
}

// Whoever writes policies makes the schema; several may at once, and again.
func TestPostgresMigrate(t *testing.T) {
	d := pgtest.DB(t)
	s := openPG(t, d.URL)
	if _, err := s.Rows(t.Context()); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "policy apply makes it") {
		t.Errorf("before: %v", err)
	}
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			if err := s.Migrate(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	must(t, s, someRows...)
	if err := s.Migrate(t.Context()); err != nil {
		t.Error(err)
	}
	if got := held(t, s); !reflect.DeepEqual(got, someRows) {
		t.Errorf("%q", got)
	}
	d.Exec("insert into sidecar.migration (version) values (1000)")
	if err := s.Migrate(t.Context()); !errors.Is(err, errNewer) {
		t.Errorf("%v", err)
	}
}

// A sidecar's role reads and listens, and can write nothing; another program's role can
// do neither.
func TestPostgresRoles(t *testing.T) {
	d, s, _ := stores(t)
	must(t, s, someRows...)
	role, url := d.Role("sidecar")
	grants(t, d, "sidecar", role)
	reader := openPG(t, url)
	if got := held(t, reader); !reflect.DeepEqual(got, someRows) {
		t.Errorf("%q", got)
	}
	if err := reader.Wait(t.Context(), time.Millisecond); err != nil {
		t.Errorf("listening: %v", err)
	}
	role, url = d.Role("policy_writer")
	grants(t, d, "policy_writer", role)
	if _, err := openPG(t, url).Replace(t.Context(), someRows, ""); err != nil {
		t.Errorf("who changes rows: %v", err)
	}
	_, url = d.Role("documents")
	other := openPG(t, url)
	if _, err := other.Rows(t.Context()); err == nil || !strings.Contains(err.Error(), "42501") {
		t.Errorf("another program reads the policy: %v", err)
	}
	for name, s := range map[string]*Postgres{"the sidecar's role": reader, "another program": other} {
		if _, err := s.Replace(t.Context(), someRows[:1], ""); err == nil || !strings.Contains(err.Error(), "42501") {
			t.Errorf("%s writes: %v", name, err)
		}
		if err := s.Migrate(t.Context()); err == nil && s == other { // for the sidecar's there is nothing to do
			t.Errorf("%s migrates", name)
		}
		for _, sql := range []string{
			"insert into sidecar.casbin_rule (id, ptype, v0, v1) values ('x', 'g', 'user:eve', 'role:a')", "update sidecar.casbin_rule set v1 = 'role:z'", "delete from sidecar.casbin_rule", "truncate sidecar.casbin_rule",
			"update sidecar.policy_revision set revision = 0", "select sidecar.policy_changed()", "alter table sidecar.casbin_rule disable trigger all", "create table sidecar.x (n int)", "drop schema sidecar cascade",
		} {
			if _, err := s.db.Exec(sql); err == nil {
				t.Errorf("%s may: %s", name, sql)
			}
		}
	}
	if got := held(t, s); !reflect.DeepEqual(got, someRows) {
		t.Errorf("%q", got)
	}
}

// grants gives a role what docs/policy.md gives to name.
func grants(t *testing.T, d *pgtest.Database, name, role string) {
	t.Helper()
	text, err := os.ReadFile("../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^(grant .* to )`+name+`;$`).FindAllSubmatch(text, -1)
	if len(found) < 2 {
		t.Fatalf("docs/policy.md has %d grants for %s", len(found), name)
	}
	for _, m := range found {
		d.Exec(string(m[1]) + role)
	}
}

// What happens to a database, seen by a policy that follows it.
func TestPostgresLive(t *testing.T) {
	type world struct {
		d        *pgtest.Database
		writer   *Postgres
		live     *Live
		events   <-chan Event
		revision string
	}
	begin := func(t *testing.T, poll time.Duration) world {
		t.Helper()
		d, writer, follower := stores(t)
		w := world{d: d, writer: writer, revision: must(t, writer, aliceReads)}
		told := make(chan Event, 100)
		live, err := NewLive(t.Context(), follower, LiveOptions{Poll: poll, Notify: func(e Event) { told <- e }})
		if err != nil {
			t.Fatal(err)
		}
		w.live, w.events = live, told
		ctx, cancel := context.WithCancel(context.Background())
		var over sync.WaitGroup
		over.Go(func() { live.Run(ctx) })
		t.Cleanup(func() { cancel(); over.Wait() })
		return w
	}
	listening := func(t *testing.T, w world) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); w.d.Count("select count(*) from pg_stat_activity where datname = ? and query ilike 'listen%'", w.d.Name) == 0; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("nobody listens")
			}
		}
	}
	// changed waits for another policy, and returns what was told before.
	changed := func(t *testing.T, w world, want string) (before []string) {
		t.Helper()
		for {
			select {
			case e := <-w.events:
				if e.Kind != Changed {
					before = append(before, e.String())
					continue
				}
				if now, _ := w.live.Current(); e.Revision != want || now.Revision() != want {
					t.Errorf("%s, want %s", now.Revision(), want)
				}
				return before
			case <-time.After(20 * time.Second):
				t.Fatal("the change was not seen")
			}
		}
	}
	t.Run("told", func(t *testing.T) {
		w := begin(t, time.Hour)
		listening(t, w)
		changed(t, w, must(t, w.writer, bobReads))
		w.d.Exec("update sidecar.casbin_rule set v0 = 'user:carol'") // by hand
		now, err := w.writer.Revision(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		changed(t, w, now)
	})
	t.Run("rolled back", func(t *testing.T) {
		w := begin(t, time.Hour)
		listening(t, w)
		if err := w.d.Try("begin; delete from sidecar.casbin_rule; rollback"); err != nil {
			t.Fatal(err)
		}
		changed(t, w, must(t, w.writer, bobReads)) // and nothing before
		if e, _ := w.live.Current(); !e.Decide("user:bob", read).Allowed {
			t.Error("the wrong policy")
		}
	})
	t.Run("listener killed, and written at once", func(t *testing.T) {
		w := begin(t, 50*time.Millisecond)
		listening(t, w)
		if n := w.d.KillConnections("listen"); n != 1 {
			t.Errorf("%d connections", n)
		}
		before := changed(t, w, must(t, w.writer, bobReads))
		if !slices.Contains(before, "deaf  "+w.revision) {
			if e := <-w.events; e.Kind != Deaf { // seen by a look that was under way
				t.Errorf("%v", e)
			}
		}
		listening(t, w)
	})
	t.Run("every connection killed", func(t *testing.T) {
		w := begin(t, 50*time.Millisecond)
		listening(t, w)
		w.d.KillConnections("")
		_ = w.d.Try("select 1") // ours was not among them
		revision, err := w.writer.Replace(t.Context(), [][]string{bobReads}, "")
		for ; err != nil; revision, err = w.writer.Replace(t.Context(), [][]string{bobReads}, "") { // its pool was
			if !errors.Is(err, ErrUnavailable) {
				t.Fatal(err)
			}
		}
		changed(t, w, revision)
	})
	t.Run("two writers", func(t *testing.T) {
		w := begin(t, 50*time.Millisecond)
		other := openPG(t, w.d.URL)
		var wait sync.WaitGroup
		for i, s := range []*Postgres{w.writer, other} {
			wait.Go(func() {
				for n := range 10 {
					must(t, s, []string{"p", "user:alice", "document", fmt.Sprintf("act-%d-%d", i, n)})
				}
			})
		}
		wait.Wait()
		last := must(t, w.writer, bobReads)
		for end := time.Now().Add(20 * time.Second); w.live.Health().Revision != last; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("the last change was not seen")
			}
		}
	})
	t.Run("a row that got around the constraints", func(t *testing.T) {
		w := begin(t, 50*time.Millisecond)
		w.d.Exec("alter table sidecar.casbin_rule drop constraint casbin_rule_permission")
		w.d.Exec("insert into sidecar.casbin_rule (id, ptype, v0, v1, v2, v3) values ('bad', 'p', 'role:a', 'srv/*_read', 'call', 'allow')")
		e := <-w.events
		if e.Kind != Refused || !regexp.MustCompile(`^postgres:\d+: object pattern "srv/\*_read"`).MatchString(e.Err.Error()) {
			t.Errorf("%v: %v", e, e.Err)
		}
		if now, err := w.live.Current(); err != nil || !now.Decide("user:alice", read).Allowed {
			t.Error("the last good policy is gone")
		}
		if _, err := NewLive(t.Context(), w.writer, LiveOptions{}); err == nil {
			t.Error("a sidecar starts with half a policy")
		}
		w.d.Exec("delete from sidecar.casbin_rule where id = 'bad'")
		now, err := w.writer.Revision(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		changed(t, w, now)
	})
}

// A database that restarts is found again; while it is away the policy stays, until it is
// too old.
func TestPostgresLiveRestart(t *testing.T) {
	server := pgtest.Private(t, pgserver.Options{})
	s := openPG(t, server.AdminURL("postgres"))
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := must(t, s, aliceReads)
	var now struct {
		sync.Mutex
		time.Duration
	}
	begun := time.Now()
	told := make(chan Event, 100)
	live, err := NewLive(t.Context(), s, LiveOptions{Poll: 20 * time.Millisecond, MaxAge: time.Hour, Notify: func(e Event) { told <- e }, Now: func() time.Time {
		now.Lock()
		defer now.Unlock()
		return begun.Add(now.Duration)
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var over sync.WaitGroup
	over.Go(func() { live.Run(ctx) })
	defer over.Wait()
	defer cancel()
	await := func(kind EventKind) Event {
		t.Helper()
		for {
			select {
			case e := <-told:
				if e.Kind == kind {
					return e
				}
			case <-time.After(20 * time.Second):
				t.Fatalf("%v was not told", Event{Kind: kind})
			}
		}
	}
	server.Pause()
	if e := await(Unreachable); !errors.Is(e.Err, ErrUnavailable) || strings.Contains(e.Err.Error(), "postgres://") {
		t.Errorf("%v", e.Err)
	}
	if e, err := live.Current(); err != nil || e.Revision() != first {
		t.Errorf("%v, %s", err, e.Revision())
	}
	now.Lock()
	now.Duration = time.Hour
	now.Unlock()
	await(Stale)
	if _, err := live.Current(); !errors.Is(err, ErrStale) {
		t.Error(err)
	}
	if err := server.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	await(Confirmed)
	if _, err := live.Current(); err != nil {
		t.Error(err)
	}
	revision, err := s.Replace(t.Context(), [][]string{bobReads}, "")
	if err != nil {
		t.Fatal(err)
	}
	if e := await(Changed); e.Revision != revision {
		t.Errorf("%v", e)
	}
}

// Rows and revision are of one moment, also while others write.
func TestPostgresRowsAreOfTheirRevision(t *testing.T) {
	_, writer, reader := stores(t)
	wrote := map[string]string{must(t, writer, aliceReads): aliceReads[3]}
	var read []Rows
	var done atomic.Bool
	var reading sync.WaitGroup
	reading.Go(func() {
		defer done.Store(true)
		for range 400 {
			rows, err := reader.Rows(context.Background())
			if err != nil {
				t.Error(err)
				return
			}
			read = append(read, rows)
		}
	})
	for n := 0; !done.Load(); n++ {
		action := "act-" + strconv.Itoa(n)
		wrote[must(t, writer, []string{"p", "user:alice", "document", action})] = action
	}
	reading.Wait()
	for _, r := range read {
		if r.Rows[0].Fields[3] != wrote[r.Revision] {
			t.Errorf("revision %s with %q, want %s", r.Revision, r.Rows[0].Fields, wrote[r.Revision])
		}
	}
}

// Rows that got around the constraints are refused by their number, and none is read as
// one that allows.
func TestPostgresRowsAroundConstraints(t *testing.T) {
	d, s, _ := stores(t)
	d.Exec("alter table sidecar.casbin_rule drop constraint casbin_rule_permission, drop constraint casbin_rule_role, drop constraint casbin_rule_unused, alter v0 drop not null, alter v1 drop not null, alter v3 drop not null")
	for values, says := range map[string]string{
		"'p', 'role:a', 'x', 'read', ''":                "empty column",
		"'p', 'role:a', 'x', 'read', null":              "empty column",
		"'p', 'role:a', null, 'read', 'deny'":           "empty column",
		"'p', 'role:a', 'x', 'read', 'Deny'":            `effect "Deny"`,
		"'p', 'admin', 'x', 'read', 'allow'":            `subject "admin"`,
		"'p', 'role:a', 'a,b', 'read', 'allow'":         "character ','",
		"'g', 'user:a', 'admin', '', ''":                `role "admin"`,
		"'g', null, 'role:a', '', ''":                   "empty column",
		"'g', 'user:a', 'role:a', '', 'x'":              "4 columns",
		"'p', 'role:a', 'x', 'read', e'deny\n'":         `'\n'`,
		"'p', 'role:a', 'x', repeat('y', 513), 'allow'": "longer than 512",
	} {
		d.Exec("delete from sidecar.casbin_rule")
		d.Exec("alter table sidecar.casbin_rule drop constraint if exists casbin_rule_length")
		d.Exec("insert into sidecar.casbin_rule (id, ptype, v0, v1, v2, v3) values ('bad', " + values + ")")
		rows, err := s.Rows(t.Context())
		var problems Problems
		if !errors.As(err, &problems) || problems[0].Line == 0 || !strings.Contains(err.Error(), says) || rows.Revision == "" {
			t.Errorf("%s: %v", values, err)
		}
	}
}

// A database that was restored, or a standby that lacked the last changes, counts a
// second time what it has counted before. Neither state is taken for the other.
func TestPostgresRevisionAfterRestore(t *testing.T) {
	d, s, _ := stores(t)
	must(t, s, aliceReads)
	d.Exec("create table sidecar.backup as select * from sidecar.policy_revision")
	lost := must(t, s, bobReads)
	d.Exec("update sidecar.policy_revision set (state, revision, changed) = (select state, revision, changed from sidecar.backup)")
	if now := must(t, s, aliceReads); now == lost || now[:strings.Index(now, "-")] != lost[:strings.Index(lost, "-")] {
		t.Errorf("%s, after %s was lost", now, lost)
	}
}

// Another program's role that may make things in the database has no code of its own run
// by whoever reads or writes the policy, and cannot be there first with a schema of its
// own.
func TestPostgresOtherMakers(t *testing.T) {
	d, s, _ := stores(t)
	must(t, s, aliceReads)
	role, url := d.Role("documents")
	d.Exec("grant create on schema public to " + role)
	other := pgtest.Connect(t, url)
	for _, sql := range []string{
		"create function public.evil(bigint, text) returns text language plpgsql as $$ begin delete from sidecar.casbin_rule; return 'evil'; end $$",
		"create operator public.|| (leftarg = bigint, rightarg = text, function = public.evil)",
	} {
		if _, err := other.Exec(sql); err != nil {
			t.Fatal(err)
		}
	}
	if revision, err := s.Revision(t.Context()); err != nil || strings.Contains(revision, "evil") {
		t.Errorf("%s, %v", revision, err)
	}
	if got := held(t, s); !reflect.DeepEqual(got, [][]string{append(slices.Clone(aliceReads), "allow")}) {
		t.Errorf("%q", got)
	}

	d = pgtest.DB(t)
	role, url = d.Role("documents")
	owner, ownerURL := d.Role("policy_owner")
	d.Exec(fmt.Sprintf("grant create on database %s to %s, %s", d.Name, role, owner))
	if err := openPG(t, url).Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.Exec("grant usage on schema sidecar to " + owner)
	d.Exec("grant select on all tables in schema sidecar to " + owner)
	if err := openPG(t, ownerURL).Migrate(t.Context()); !errors.Is(err, errForeign) {
		t.Errorf("the policy's owner takes another's schema: %v", err)
	}
	d.Exec("drop schema sidecar cascade")
	if err := openPG(t, ownerURL).Migrate(t.Context()); err != nil {
		t.Error(err)
	}
	if err := openPG(t, ownerURL).Migrate(t.Context()); err != nil {
		t.Error(err)
	}
}

// Two databases that have counted equally far are not taken for each other.
func TestPostgresRevisionIsOfOneDatabase(t *testing.T) {
	_, a, _ := stores(t)
	_, b, _ := stores(t)
	if x, y := must(t, a, aliceReads), must(t, b, bobReads); x == y || x[:strings.Index(x, "-")] != y[:strings.Index(y, "-")] {
		t.Errorf("%s and %s", x, y)
	}
}

// go-pg before 10.15.0 lets values write SQL (CVE-2024-44905).
func TestPostgresLibrary(t *testing.T) {
	text, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`github\.com/go-pg/pg/v10 v10\.(\d+)\.`).FindSubmatch(text)
	if found == nil {
		t.Fatal("go.mod does not name go-pg")
	}
	if minor, _ := strconv.Atoi(string(found[1])); minor < 15 {
		t.Errorf("go-pg v10.%d", minor)
	}
}
