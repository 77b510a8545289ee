package main

// ssrf lets the server fetch what the caller cannot reach. The fakes of these
// hosts count who came.
func ssrf() scenario {
	fetch := func(label, url string) trial {
		return trial{
			label: label,
			user:  "alice", tool: "import_url", args: args{"url": url, "created_by": "alice"},
			direct: answer{allowed, "imported " + url + " as document id={new}"},
		}
	}
	attack := func(label, url, host, what string) trial {
		t := fetch(label, url)
		t.harmful = true
		t.proxied = answer{rejected, "blocked by SSRF guard: blocked internal/reserved address " + host}
		t.effects = []effect{hit(what, host, "yes", "no")}
		return t
	}
	public := fetch("external https  ->", "https://example.com/policy.txt")
	public.proxied = public.direct
	public.effects = []effect{hit("example.com hit", policyHost, "yes", "yes")}

	return scenario{
		name:  "ssrf",
		title: "SSRF (URL allowlisting)",
		trials: []trial{
			attack("cloud metadata  ->", "http://169.254.169.254/latest/meta-data/", metadataHost, "metadata service hit"),
			attack("private network ->", "http://192.168.1.1/", routerHost, "router hit"),
			public,
		},
	}
}
