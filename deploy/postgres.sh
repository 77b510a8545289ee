#!/bin/sh
# Roles and databases of the demo, made once by the image of PostgreSQL: documents in one
# database, the policy in another, and nobody with a right in what is not his. Passwords
# come from files.
set -eu
secrets=${SECRETS:-/run/secrets}
psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
	-v documents="$(cat "$secrets/documents_password")" \
	-v owner="$(cat "$secrets/policy_owner_password")" \
	-v sidecar="$(cat "$secrets/sidecar_password")" <<'SQL'
create role documents login password :'documents';
create role policy_owner login password :'owner';
create role sidecar login password :'sidecar';
create database documents owner documents;
create database policy owner policy_owner;
revoke all on database documents, policy from public;
grant connect on database policy to sidecar;
\connect policy
-- What policy apply makes, as policy_owner, the sidecar may read.
alter default privileges for role policy_owner grant usage on schemas to sidecar;
alter default privileges for role policy_owner grant select on tables to sidecar;
SQL
