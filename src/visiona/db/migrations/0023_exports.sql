-- Exports: copies of everything that is kept of a person, made for them in the background.

create table exports (
  id bigint generated always as identity primary key,
  user_id bigint not null references users on delete cascade,
  state text not null default 'queued' check (state in ('queued', 'running', 'ready', 'failed')),
  progress smallint not null default 0 check (progress between 0 and 100),
  -- Something that may be in it was deleted after it was begun.
  stale boolean not null default false,
  -- Which attempt is the current one; whoever makes another gives up.
  attempts integer not null default 0,
  -- How often it was begun by a worker that never came back to it: one that it kills, perhaps.
  crashes integer not null default 0,
  -- Since when it is being made in vain.
  begun_at timestamptz,
  object_key text,
  size bigint,
  sha256 text check (sha256 ~ '^[0-9a-f]{64}$'),
  created_at timestamptz not null default now(),
  finished_at timestamptz,
  expires_at timestamptz,
  check ((state in ('ready', 'failed')) = (finished_at is not null and expires_at is not null)),
  check ((state = 'ready') = (object_key is not null and size is not null and sha256 is not null)),
  check (starts_with(object_key, 'u' || user_id || '/exports/'))
);
create unique index exports_open on exports (user_id) where state in ('queued', 'running');
create index exports_user on exports (user_id, id);
create index exports_expiry on exports (expires_at);

alter table exports enable row level security;
alter table exports force row level security;

create policy own_read on exports for select to visiona_app
  using (user_id = any (array[(select visiona.uid())]));
create policy own_ask on exports for insert to visiona_app
  with check (user_id = any (array[(select visiona.uid())]) and state = 'queued');
create policy own_remove on exports for delete to visiona_app
  using (user_id = any (array[(select visiona.uid())]));
create policy system_all on exports for all to visiona_worker
  using ((select visiona.is_system())) with check ((select visiona.is_system()));
create policy auth_all on exports for all to visiona_auth using (true) with check (true);
grant select (id, user_id, state, progress, stale, object_key, size, sha256, created_at, finished_at, expires_at),
  insert (user_id), delete on exports to visiona_app;
grant select, insert (user_id),
  update (state, progress, stale, attempts, crashes, begun_at, object_key, size, sha256, finished_at, expires_at),
  delete on exports to visiona_worker;
grant select (user_id, state), update (stale), delete on exports to visiona_auth;

-- The worker reads what it exports as the person, under their identity alone: the columns that say something of
-- them, of every table, and no hash or key.
do $$
declare
  readable constant jsonb := '{
    "api_keys": "id, user_id, prefix, name, scopes, created_at, expires_at, last_used_at, revoked_at",
    "cost_people": "user_id, day, committed",
    "credentials": "user_id, changed_at",
    "email_links": "id, user_id, address, purpose, created_at, expires_at, used_at",
    "erasures": "id, user_id, remote, number, cause, state, asked_at, due_at, started_at, finished_at, steps, trouble, receipt",
    "exports": "id, user_id, object_key, state, progress, size, sha256, created_at, finished_at, expires_at",
    "idempotency_keys": "user_id, key, result_id, operation, created_at",
    "mails": "id, user_id, reference, once, address, kind, details, state, attempts, next_attempt_at, created_at, sent_at",
    "passkey_challenges": "user_id, expires_at",
    "passkeys": "id, user_id, credential_id, aaguid, name, public_key, sign_count, transports, synced, backed_up, created_at, last_used_at",
    "prompt_refusals": "user_id, day, rule, times",
    "provider_costs": "user_id, work, day, reserved, spent, created_at",
    "recovery_codes": "user_id, used_at",
    "reports": "id, user_id, image_id, object_keys, reason, state, created_at, decided_at",
    "sessions": "id, user_id, provider_session_id, client, created_at, last_seen_at, expires_at, revoked_at, confirmed_at",
    "support_grants": "user_id, expires_at, granted_at",
    "totp_secrets": "user_id, confirmed_at, created_at"
  }';
  name text;
  columns text;
begin
  for name, columns in select * from jsonb_each_text(readable) loop
    execute format('create policy export_read on %I for select to visiona_worker
      using (user_id = any (array[(select visiona.uid())]))', name);
    execute format('grant select (%s) on %I to visiona_worker', columns, name);
  end loop;
end $$;

grant create on schema visiona to visiona_auth;
set local role visiona_auth;

-- What somebody deletes, or has deleted, lives on in no copy that was made before. A copy is begun under the same
-- lock, alone: a deletion that has not been committed by then would be seen by neither, and is waited for.
create function visiona.outdate_exports() returns trigger
  language plpgsql security definer set search_path = public, pg_temp
as $$
begin
  perform pg_advisory_xact_lock_shared(hashtextextended('exports', one.user_id))
    from (select distinct g.user_id from gone g order by 1) one;
  update exports e set stale = true
    where e.state in ('running', 'ready') and e.user_id in (select g.user_id from gone g);
  return null;
end $$;
revoke execute on function visiona.outdate_exports() from public;
grant execute on function visiona.outdate_exports() to visiona_owner;

set local role visiona_owner;
revoke create on schema visiona from visiona_auth;

create trigger outdate_exports after delete on photos
  referencing old table as gone for each statement execute function visiona.outdate_exports();
create trigger outdate_exports after delete on models
  referencing old table as gone for each statement execute function visiona.outdate_exports();
create trigger outdate_exports after delete on generations
  referencing old table as gone for each statement execute function visiona.outdate_exports();

-- Who may ask for the job of an export; what was decided for others stays.
do $$
declare
  before text := pg_get_functiondef('visiona.may_enqueue(text, jsonb)'::regprocedure);
  after text := replace(before, '''privacy.proceed'',', '''privacy.proceed'', ''exports.build'',');
begin
  if after = before then
    raise exception 'who may ask for jobs is written otherwise than it was';
  end if;
  execute after;
end $$;
