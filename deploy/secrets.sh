#!/bin/sh
# Makes the secrets of compose.yaml, once, in a folder that git ignores and that only
# this user can enter. The files in it are readable, since containers read them under
# other user ids.
set -eu
dir=${1:-deploy/secrets}
random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
mkdir -p "$dir"
chmod 700 "$dir"
for name in postgres_password documents_password policy_owner_password sidecar_password service_token alice.token; do
	[ -s "$dir/$name" ] || random >"$dir/$name"
done
database() { echo "postgres://$1:$(cat "$dir/$2_password")@postgres:5432/$3?sslmode=disable"; }
echo "DATABASE_URL=$(database documents documents documents)" >"$dir/documents.env"
echo "SIDECAR_DATABASE_URL=$(database policy_owner policy_owner policy)" >"$dir/policy-owner.env"
echo "SIDECAR_DATABASE_URL=$(database sidecar sidecar policy)" >"$dir/sidecar.env"
hash=$(printf %s "$(cat "$dir/alice.token")" | sha256sum | cut -d' ' -f1)
cat >"$dir/tokens.yaml" <<YAML
tokens:
  - { sha256: $hash, subject: alice, audience: [doc-server], expires: $(($(date +%Y) + 1))-01-01T00:00:00Z, scopes: ["documents:*"] }
YAML
chmod 644 "$dir"/*
echo "secrets in $dir; alice's token is in $dir/alice.token"
