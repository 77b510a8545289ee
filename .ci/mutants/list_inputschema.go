package main

// Of arguments and the schema of their tool.
var inputSchemaMutants = []mutant{
	inputSchemaMutant("nothing is judged", "proxy/pipeline/inspect_input.go", "	return p.fitsInput(c, len(edits) > 0)\n", "	return nil\n"),
	inputSchemaMutant("what the client has sent is judged", "proxy/pipeline/inspect_input.go", "p.fitsInput(c, len(edits) > 0)", "p.fitsInput(c, false)"),
	inputSchemaMutant("no arguments are as good as any", "proxy/pipeline/inputschema.go", "	value := noArguments\n	if args", "	if args == wire.Absent {\n\t\treturn \"\", \"\"\n\t}\n	value := noArguments\n	if args"),
	inputSchemaMutant("observed is refused", "proxy/pipeline/inputschema.go", "case mode == guards.Observe:", "case false:"),
	inputSchemaMutant("off is not", "proxy/pipeline/inputschema.go", " || mode == guards.Off {", " {"),
	inputSchemaMutant("required may be missing", "proxy/pipeline/inputschema.go", "		if m.Member(args, name) == wire.Absent {", "		if name == \"\" {"),
	inputSchemaMutant("any type", "proxy/pipeline/inputschema.go", "!f.has(m, i, bits)", "false"),
	inputSchemaMutant("fractions are integers", "proxy/pipeline/inputschema.go", " && !bytes.ContainsAny(m.Value(i), \".eE\")", ""),
	inputSchemaMutant("closed objects are open", "proxy/pipeline/inputschema.go", "			f.open = m.IsTrue(i)\n", ""),
	inputSchemaMutant("keywords are passed over", "proxy/pipeline/inputschema.go", "		default:\n\t\t\treturn nil\n", "		default:\n"),
	inputSchemaMutant("keywords of members are passed over", "proxy/pipeline/inputschema.go", "		default:\n\t\t\treturn notFlat\n", "		default:\n"),
	inputSchemaMutant("names that speak are repeated", "proxy/pipeline/inputschema.go", "if name == \"\" || len(name) > longest || strings.Trim", "if name == \"\" || len(name) > longest && strings.Trim"),
	inputSchemaMutant("places that speak are repeated", "guards/schema/schema.go", "strings.Trim(at, plainPointer) == \"\"", "at != \"\""),
}

func inputSchemaMutant(name, file, was, now string) mutant {
	return mutant{name: "input schema: " + name, file: file, old: was, new: now, pkgs: []string{"./proxy/pipeline", "./proxy/sidecar"}, run: "InputSchema|FlatSchema|NotFlat"}
}
