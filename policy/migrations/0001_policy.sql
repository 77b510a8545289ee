-- The rows of the policy, in the table format of casbin-pg-adapter, and their revision.
--
-- The constraints are the grammar of the rows: whatever writes here, psql included, can
-- write nothing that would be read as something else. NULL would slip through a check.
create table sidecar.casbin_rule (
  id    text not null primary key,
  ptype text not null,
  v0    text not null default '',
  v1    text not null default '',
  v2    text not null default '',
  v3    text not null default '',
  v4    text not null default '',
  v5    text not null default '',
  seq   bigint not null generated always as identity,
  constraint casbin_rule_once unique (ptype, v0, v1, v2, v3, v4, v5),
  constraint casbin_rule_type check (ptype in ('p', 'g', 'g2')),
  constraint casbin_rule_length check (greatest(length(v0), length(v1), length(v2), length(v3)) <= 512),
  constraint casbin_rule_unused check (v4 = '' and v5 = '' and (ptype = 'p' or (v2 = '' and v3 = ''))),
  constraint casbin_rule_permission check (ptype <> 'p' or (
    v0 ~ '^(user|role):[A-Za-z0-9_.:/@-]+$' and
    v1 ~ '^([*]|[A-Za-z0-9_.:@-]+/[*]|[A-Za-z0-9_.:/@-]+)$' and
    v2 ~ '^([*]|[A-Za-z0-9_.:/@-]+)$' and
    v3 in ('allow', 'deny'))),
  constraint casbin_rule_role check (ptype <> 'g' or (
    v0 ~ '^(user|role):[A-Za-z0-9_.:/@-]+$' and
    v1 ~ '^role:[A-Za-z0-9_.:/@-]+$')),
  constraint casbin_rule_group check (ptype <> 'g2' or (
    v0 ~ '^[A-Za-z0-9_.:/@-]+$' and
    v1 ~ '^[A-Za-z0-9_.:@-]+$'))
);

-- One row: which state the rows are in. The count alone comes twice: in two databases,
-- in one that was restored, and where a standby takes over that lacks the last changes.
create table sidecar.policy_revision (
  one      boolean not null primary key default true check (one),
  state    uuid not null default gen_random_uuid(),
  revision bigint not null default 0,
  changed  timestamptz not null default now()
);
insert into sidecar.policy_revision default values;

-- The revision is the truth, the notification saves waiting for the next look. Whoever
-- may write rows need not be able to write the revision.
create function sidecar.policy_changed() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare now_at bigint;
begin
  update sidecar.policy_revision set revision = revision + 1, state = gen_random_uuid(), changed = now() returning revision into now_at;
  perform pg_notify('sidecar_policy', now_at::text);
  return null;
end $$;
revoke execute on function sidecar.policy_changed() from public;

create trigger casbin_rule_changed
  after insert or update or delete or truncate on sidecar.casbin_rule
  for each statement execute function sidecar.policy_changed();
