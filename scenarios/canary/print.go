package canary

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"unsafe"
)

// ours begins the packages whose structs Held looks into.
const ours = "mcp-sidecar/"

// Print is everything that v looks like in a text: formatted, logged, encoded, in an
// error. Nothing may change v meanwhile.
func Print(v any) string {
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T"} {
		fmt.Fprintf(&out, verb+"\n", v)
	}
	fmt.Fprintln(&out, v, &v, []any{v}, map[string]any{"k": v}, struct{ hidden any }{v})
	fmt.Fprintln(&out, errors.Join(fmt.Errorf("with %v", v), fmt.Errorf("with %+v", v)))
	for _, h := range []slog.Handler{slog.NewJSONHandler(&out, nil), slog.NewTextHandler(&out, nil)} {
		slog.New(h).Error("m", "value", v, "group", slog.GroupValue(slog.Any("inner", v)))
	}
	for _, encode := range []func(any) ([]byte, error){json.Marshal, xml.Marshal} {
		if b, err := encode(v); err == nil { // some have no form in some of them
			out.Write(b)
		}
	}
	return out.String()
}

// Shows returns the secrets that text holds: as they are, in Base64, in hexadecimal, or
// as package fmt prints bytes.
func Shows(text string, secrets ...string) []string {
	return slices.DeleteFunc(slices.Clone(secrets), func(secret string) bool {
		return !slices.ContainsFunc(spellings(secret), func(s string) bool { return strings.Contains(text, s) })
	})
}

func spellings(secret string) []string {
	encoded := hex.EncodeToString([]byte(secret))
	decimal := strings.Trim(fmt.Sprintf("%d", []byte(secret)), "[]")
	source := strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", []byte(secret)), "[]byte{"), "}")
	return append(base64Forms(secret), secret, encoded, strings.ToUpper(encoded), decimal, source, base64.StdEncoding.EncodeToString([]byte(secret)))
}

// Held returns where v, or what can be reached from it, holds one of secrets in a plain
// text, byte slice or map key: as Type.field, or the name of the type. A type
// with a method Reveal is one that hides its value, and is not looked into; nor are the structs
// of other modules, functions and channels. The fields that are named in except may hold
// them. Nothing may change v meanwhile.
//
// It finds the field that somebody adds tomorrow, exported or not, whether or not it
// happens to be printed today.
func Held(v any, secrets []string, except ...string) []string {
	h := &holder{secrets: secrets, except: except, seen: map[visit]bool{}}
	h.look(reflect.TypeOf(v).String(), reflect.ValueOf(v))
	slices.Sort(h.found)
	return slices.Compact(h.found)
}

type holder struct {
	secrets, except []string
	seen            map[visit]bool
	found           []string
}

type visit struct {
	at   unsafe.Pointer
	kind reflect.Type
}

func (h *holder) look(where string, v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		h.judge(where, v.String())
	case reflect.Interface:
		if !v.IsNil() {
			h.look(where, v.Elem())
		}
	case reflect.Pointer:
		if at := (visit{v.UnsafePointer(), v.Type()}); !v.IsNil() && !h.seen[at] {
			h.seen[at] = true
			h.look(where, v.Elem())
		}
	case reflect.Map:
		for entries := v.MapRange(); entries.Next(); {
			h.look(where, entries.Key())
			h.look(where, entries.Value())
		}
	case reflect.Slice, reflect.Array:
		h.lookInto(where, v)
	case reflect.Struct:
		h.lookAt(v)
	default: // numbers hold no text; functions and channels do not show what they hold
	}
}

func (h *holder) lookInto(where string, v reflect.Value) {
	if v.Type().Elem().Kind() != reflect.Uint8 {
		for i := range v.Len() {
			h.look(where, v.Index(i))
		}
		return
	}
	b := make([]byte, v.Len())
	for i := range b {
		b[i] = byte(v.Index(i).Uint())
	}
	h.judge(where, string(b))
}

func (h *holder) lookAt(v reflect.Value) {
	t := v.Type()
	if _, hides := t.MethodByName("Reveal"); hides {
		return
	}
	if t.PkgPath() == reflect.TypeFor[atomic.Bool]().PkgPath() && strings.HasPrefix(t.Name(), "Pointer[") {
		h.lookBehind(v)
		return
	}
	if t.PkgPath() != "" && !strings.HasPrefix(t.PkgPath(), ours) {
		return
	}
	for i := range v.NumField() {
		where := t.String() + "." + t.Field(i).Name
		if !slices.Contains(h.except, where) {
			h.look(where, v.Field(i))
		}
	}
}

// lookBehind looks at what an [atomic.Pointer] points at, which only its method tells.
func (h *holder) lookBehind(v reflect.Value) {
	if !v.CanAddr() {
		panic("canary: " + v.Type().String() + " in a copy; look at a pointer to what holds it")
	}
	open := reflect.NewAt(v.Type(), v.Addr().UnsafePointer())
	loaded := open.MethodByName("Load").Call(nil)[0]
	h.look(loaded.Type().String(), loaded)
}

func (h *holder) judge(where, text string) {
	if len(Shows(text, h.secrets...)) > 0 {
		h.found = append(h.found, where)
	}
}
