package main

func printMutant(name, file, old, changed string, pkgs ...string) mutant {
	return mutant{name: "print: " + name, file: file, old: old, new: changed, pkgs: pkgs, run: "NothingPrints|NothingRead|Hidden|RecordsHold|Held|Shows"}
}

// printMutants keep a secret in plain, or show it where it is printed.
var printMutants = []mutant{
	printMutant("a secret beside its pointer", "proxy/identity/identity.go", "\tvalue *string\n}\n\n// NewSecret wraps value.\nfunc NewSecret(value string) Secret { return Secret{value: &value} }", "\tvalue *string\n\tplain string\n}\n\n// NewSecret wraps value.\nfunc NewSecret(value string) Secret { return Secret{value: &value, plain: value} }", "./proxy/identity"),
	printMutant("a hidden value behind a pointer", "proxy/identity/identity.go", "\tvalue func() T\n}\n\n// Hide wraps value.\nfunc Hide[T any](value T) Hidden[T] { return Hidden[T]{value: func() T { return value }} }", "\tvalue func() T\n\tplain *T\n}\n\n// Hide wraps value.\nfunc Hide[T any](value T) Hidden[T] { return Hidden[T]{value: func() T { return value }, plain: &value} }", "./proxy/identity"),
	printMutant("another member of a token endpoint's answer", "proxy/identity/endpoint.go", "\tError       string  `json:\"error\"`\n}", "\tError       string  `json:\"error\"`\n\tOther       string  `json:\"jti\"`\n}", "./proxy/identity"),
	printMutant("another member of an introspection", "proxy/identity/introspection.go", "\tActive   bool       `json:\"active\"`\n", "\tActive   bool       `json:\"active\"`\n\tOther    string     `json:\"access_token\"`\n", "./proxy/identity"),
	printMutant("an answer as it came", "proxy/identity/fetch.go", "return Reply{resp.StatusCode, media, Hide(body)}, nil", "return Reply{resp.StatusCode, media + string(body), Hide(body)}, nil", "./proxy/identity"),
	printMutant("a token's signature", "proxy/identity/jose.go", "\ts.payload, s.signature = Hide(payload), Hide(sealed)\n", "\ts.payload, s.signature, s.header.KeyID = Hide(payload), Hide(sealed), string(sealed)\n", "./proxy/identity"),

	printMutant("a call's credentials", "proxy/pipeline/call.go", "\t\tc.presented.Add(identity.NewSecret(credential))\n", "\t\tc.presented.Add(identity.NewSecret(credential))\n\t\tc.Would = append(c.Would, credential)\n", "./proxy/pipeline"),
	printMutant("a call's credentials in disguise", "proxy/pipeline/credential.go", "\t\tc.forms = identity.Hide(forms)\n", "\t\tc.forms, c.Would = identity.Hide(forms), forms\n", "./proxy/pipeline"),
	printMutant("a call's message, formatted", "proxy/pipeline/call.go", "io.WriteString(s, \"call \"+c.ID)", "s.Write(c.request)", "./proxy/pipeline"),
	printMutant("a call's message, logged", "proxy/pipeline/call.go", "return slog.StringValue(\"call \" + c.ID)", "return slog.StringValue(string(c.request))", "./proxy/pipeline"),
	printMutant("a call's message, encoded", "proxy/pipeline/call.go", "return []byte(\"call \" + c.ID), nil", "return c.request, nil", "./proxy/pipeline"),

	printMutant("the consent page's token", "proxy/broker/authorize.go", "\tf.csrf = identity.NewSecret(rand.Text())\n", "\tf.csrf = identity.NewSecret(rand.Text())\n\tf.user.name = f.csrf.Reveal()\n", "./proxy/broker"),
	printMutant("a client's state", "proxy/broker/authorize.go", "handle: newHandle(), nonce", "user: user{name: q.state.Reveal()}, handle: newHandle(), nonce", "./proxy/broker"),
	printMutant("what a code stands for", "proxy/broker/callback.go", "grant{request: f.request, user: f.user, tokens: t}", "grant{request: f.request, user: user{f.user.subject, t.Access.Reveal()}, tokens: t}", "./proxy/broker"),
	printMutant("what servers were shown", "proxy/broker/provider.go", "s.all[name] = identity.Hide(", "s.all[name+token] = identity.Hide(", "./proxy/broker"),
	printMutant("a signing key", "proxy/broker/keys.go", "ID: base64.RawURLEncoding.EncodeToString(id[:12])", "ID: base64.RawURLEncoding.EncodeToString(id[:12]) + base64.StdEncoding.EncodeToString(encoded)", "./proxy/broker"),
	printMutant("records hold no secrets", "proxy/broker/vault.go", "jsonv2.Marshal(value, revealed)", "jsonv2.Marshal(value, jsonv1.DefaultOptionsV1())", "./proxy/broker"),
	printMutant("records have another form", "proxy/broker/vault.go", "jsonv2.JoinOptions(jsonv1.DefaultOptionsV1(), ", "jsonv2.JoinOptions(jsonv1.OmitEmptyWithLegacySemantics(true), ", "./proxy/broker"),

	printMutant("the sidecar's own", "proxy/sidecar/secret.go", "o.of[name] = identity.Hide(", "o.of[name+value] = identity.Hide(", "./proxy/sidecar"),

	printMutant("the test looks into nothing", "scenarios/canary/print.go", "hides := t.MethodByName(\"Reveal\"); hides {", "hides := t.MethodByName(\"Reveal\"); hides || true {", "./scenarios/canary"),
	printMutant("the test knows texts only", "scenarios/canary/print.go", "strings.ToUpper(encoded), decimal, source, ", "strings.ToUpper(encoded), secret+decimal, secret+source, ", "./scenarios/canary"),
	printMutant("the test follows no pointers", "scenarios/canary/print.go", "!v.IsNil() && !h.seen[at] {", "!v.IsNil() && len(h.seen) == 0 {", "./scenarios/canary"),
}
