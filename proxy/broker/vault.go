package broker

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"

	"mcp-sidecar/proxy/identity"
)

// Kinds of records.
const (
	kindConsent = "consent" // what a user has agreed to
	kindGrant   = "grant"   // a third party's tokens
	kindSession = "session" // what a refresh token prolongs
	kindKeys    = "keys"    // with which our tokens are signed
)

// Bounds of the vault.
const (
	maxRecords     = 20_000
	maxUserRecords = 200
	maxRecord      = 64 << 10 // bytes
)

var (
	errNoRecord = errors.New("no such record")
	errRecord   = errors.New("a record was made with another key, moved or changed")
	errFull     = errors.New("the store is full")
)

// vault keeps records in files of their own, each encrypted and bound to whose and
// what it is: a file that is copied to another's place does not open there. Names
// of files are keyed hashes and tell nothing. One process uses a folder at a time.
type vault struct {
	folder string
	aead   cipher.AEAD
	index  identity.Hidden[[]byte] // key of the names
	now    func() time.Time

	mu      sync.Mutex
	entries map[string]header // by file name
}

// header stands before the sealed part, for bounds; it is authenticated with it.
type header struct {
	Expires int64    // Unix seconds; 0 is never
	User    [16]byte // keyed hash; zero is nobody's
}

const (
	formatVersion = 1
	headerSize    = 1 + 8 + 16
)

// openVault opens or makes folder, readable by its owner only.
func openVault(folder string, key []byte, now func() time.Time) (*vault, error) {
	if len(key) < sha256.Size {
		return nil, wrapf("the key has fewer than %d bytes", sha256.Size)
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, wrapf("store: %w", err)
	}
	if err := os.Chmod(folder, 0o700); err != nil { //nolint:gosec // a folder needs the x
		return nil, wrapf("store: %w", err)
	}
	v := &vault{folder: folder, now: now, entries: map[string]header{}}
	sealing, err := hkdf.Key(sha256.New, key, nil, "mcp-sidecar broker seal v1", 32)
	if err != nil {
		return nil, wrapf("key: %w", err)
	}
	index, err := hkdf.Key(sha256.New, key, nil, "mcp-sidecar broker index v1", 32)
	if err != nil {
		return nil, wrapf("key: %w", err)
	}
	v.index = identity.Hide(index)
	block, err := aes.NewCipher(sealing)
	if err != nil {
		return nil, wrapf("key: %w", err)
	}
	if v.aead, err = cipher.NewGCMWithRandomNonce(block); err != nil {
		return nil, wrapf("key: %w", err)
	}
	return v, v.load()
}

// load learns which records there are. What has expired goes, and what a crash has
// left behind.
func (v *vault) load() error {
	files, err := os.ReadDir(v.folder)
	if err != nil {
		return wrapf("store: %w", err)
	}
	for _, f := range files {
		path := filepath.Join(v.folder, f.Name())
		if strings.HasPrefix(f.Name(), temporary) {
			_ = os.Remove(path)
			continue
		}
		sealed, err := readRecord(path)
		if err != nil {
			return wrapf("store: %s: %w", f.Name(), err)
		}
		h := headerOf(sealed)
		if h.expired(v.now()) {
			_ = os.Remove(path)
			continue
		}
		v.entries[f.Name()] = h
	}
	return nil
}

const temporary = ".new-"

func readRecord(path string) ([]byte, error) {
	info, err := os.Stat(path) //nolint:gosec // a keyed hash below the operator's folder
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNoRecord
	}
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() < headerSize || info.Size() > maxRecord {
		return nil, errRecord
	}
	return os.ReadFile(path) //nolint:gosec // as above
}

func headerOf(sealed []byte) (h header) {
	h.Expires = int64(binary.BigEndian.Uint64(sealed[1:9]))
	copy(h.User[:], sealed[9:headerSize])
	return h
}

func (h header) encode() []byte {
	b := binary.BigEndian.AppendUint64([]byte{formatVersion}, uint64(h.Expires))
	return append(b, h.User[:]...)
}

func (h header) expired(now time.Time) bool { return h.Expires != 0 && now.Unix() >= h.Expires }

// name is the file of a record. Lengths stand before the parts, so that no two
// bindings read the same.
func (v *vault) name(kind string, binding []string) string {
	return kind + "-" + hex.EncodeToString(v.keyed(kind, binding))
}

func (v *vault) keyed(kind string, binding []string) []byte {
	mac := hmac.New(sha256.New, v.index.Reveal())
	for _, part := range append([]string{kind}, binding...) {
		_, _ = fmt.Fprintf(mac, "%d:%s", len(part), part)
	}
	return mac.Sum(nil)
}

func (v *vault) userOf(user []string) (u [16]byte) {
	if len(user) > 0 {
		copy(u[:], v.keyed("user", user))
	}
	return u
}

// revealed has encoding/json's form of a record, with the secrets in it: nothing but
// put, which encrypts it, may use that.
var revealed = jsonv2.JoinOptions(jsonv1.DefaultOptionsV1(), jsonv2.WithMarshalers(
	jsonv2.MarshalToFunc(func(e *jsontext.Encoder, s identity.Secret) error { return e.WriteToken(jsontext.String(s.Reveal())) }),
))

// put keeps value for life, or for ever when that is zero. It has reached the disk
// when put returns.
func (v *vault) put(kind string, binding, user []string, life time.Duration, value any) error {
	plain, err := jsonv2.Marshal(value, revealed)
	if err != nil {
		return wrapf("store: %w", err)
	}
	h, name := header{User: v.userOf(user)}, v.name(kind, binding)
	if life > 0 {
		h.Expires = v.now().Add(life).Unix()
	}
	head := h.encode()
	sealed := append(head, v.aead.Seal(nil, nil, plain, additional(name, head))...) //nolint:gosec // this AEAD chooses its nonce at random
	if len(sealed) > maxRecord {
		return wrapf("store: a record of %d bytes is too large", len(sealed))
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.makeRoom(name, h); err != nil {
		return err
	}
	if err := writeFile(v.folder, name, sealed); err != nil {
		return wrapf("store: %w", err)
	}
	v.entries[name] = h
	return nil
}

// additional is what a record is bound to: its name, which is made of whose it
// is, and its header.
func additional(name string, head []byte) []byte {
	return append([]byte(name+"\x00"), head[:headerSize]...)
}

// makeRoom drops what has expired when a bound is reached. A user who has too much
// loses his own oldest record; nobody loses one to somebody else.
func (v *vault) makeRoom(name string, h header) error {
	if _, there := v.entries[name]; there {
		return nil
	}
	if len(v.entries) >= maxRecords {
		now := v.now()
		for n, e := range v.entries {
			if e.expired(now) {
				v.remove(n)
			}
		}
	}
	if len(v.entries) >= maxRecords {
		return errFull
	}
	if h.User == [16]byte{} {
		return nil
	}
	own, oldest := 0, ""
	for n, e := range v.entries {
		if e.User != h.User {
			continue
		}
		own++
		if oldest == "" || e.Expires < v.entries[oldest].Expires {
			oldest = n
		}
	}
	if own >= maxUserRecords {
		v.remove(oldest)
	}
	return nil
}

// writeFile puts a file in place in one step: a crash leaves the old one or the
// new one.
func writeFile(folder, name string, content []byte) (err error) {
	f, err := os.CreateTemp(folder, temporary) // readable by its owner only
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	if _, err = f.Write(content); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), filepath.Join(folder, name)); err != nil {
		return err
	}
	return syncFolder(folder)
}

// syncFolder brings the new name to the disk, where folders can be synced.
func syncFolder(folder string) error {
	d, err := os.Open(folder)
	if err != nil {
		return nil //nolint:nilerr // the file is in place
	}
	defer func() { _ = d.Close() }()
	_ = d.Sync()
	return nil
}

// get reads a record into value. Errors are errNoRecord, or say that it cannot be
// read.
func (v *vault) get(kind string, binding []string, value any) error {
	name := v.name(kind, binding)
	if !v.has(kind, binding) {
		return errNoRecord
	}
	sealed, err := readRecord(filepath.Join(v.folder, name))
	if err != nil {
		return err
	}
	if sealed[0] != formatVersion || headerOf(sealed).expired(v.now()) {
		return errNoRecord
	}
	plain, err := v.aead.Open(nil, nil, sealed[headerSize:], additional(name, sealed))
	if err != nil {
		return errRecord
	}
	d := json.NewDecoder(bytes.NewReader(plain))
	d.DisallowUnknownFields()
	if err := d.Decode(value); err != nil {
		return errRecord
	}
	return nil
}

// has says whether there is such a record that has not expired, from memory.
func (v *vault) has(kind string, binding []string) bool {
	name := v.name(kind, binding)
	v.mu.Lock()
	defer v.mu.Unlock()
	h, ok := v.entries[name]
	return ok && !h.expired(v.now())
}

// drop removes a record.
func (v *vault) drop(kind string, binding []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.remove(v.name(kind, binding))
}

// remove forgets a record first: one whose file cannot be deleted is not used
// all the same.
func (v *vault) remove(name string) {
	delete(v.entries, name)
	_ = os.Remove(filepath.Join(v.folder, name))
}
