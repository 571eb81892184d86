-- People, their credentials and sessions, and the audit log.
--
-- The seed's INT and TIMESTAMP are BIGINT and TIMESTAMPTZ throughout: ids that never run out, and
-- instants that do not depend on a server's time zone. VARCHAR(n) that says nothing about the
-- domain is TEXT with a check where a limit matters.

create table users (
  id bigint generated always as identity primary key,
  -- The subject at the identity provider: Clerk's `user_…`, or one of the same form made here.
  clerk_id text not null unique check (length(clerk_id) <= 255),
  email text not null unique check (email = lower(email) and length(email) <= 254),
  status text not null default 'active' check (status in ('active', 'suspended')),
  created_at timestamptz not null default current_timestamp
);

create table credentials (
  user_id bigint primary key references users on delete cascade,
  password_hash text not null,
  changed_at timestamptz not null default current_timestamp
);

create table sessions (
  id uuid primary key,
  user_id bigint not null references users on delete cascade,
  -- SHA-256 of the secret in the browser's cookie; the secret itself is nowhere here.
  secret_hash bytea not null unique check (length(secret_hash) = 32),
  client text not null default '' check (length(client) <= 200),
  created_at timestamptz not null default current_timestamp,
  last_seen_at timestamptz not null default current_timestamp,
  expires_at timestamptz not null,
  revoked_at timestamptz
);
create index sessions_user on sessions (user_id, created_at);

-- Failed sign-ins by the HMAC of an address or a network, for slowing down guesses.
create table sign_in_attempts (
  key_hash bytea primary key check (length(key_hash) = 32),
  failures integer not null,
  last_at timestamptz not null
);

create table audit_logs (
  id bigint generated always as identity primary key,
  user_id bigint references users on delete set null,
  action text not null check (length(action) <= 255),
  details jsonb,
  created_at timestamptz not null default current_timestamp
);
create index audit_logs_user on audit_logs (user_id, id);

alter table users enable row level security;
alter table users force row level security;
alter table credentials enable row level security;
alter table credentials force row level security;
alter table sessions enable row level security;
alter table sessions force row level security;
alter table sign_in_attempts enable row level security;
alter table sign_in_attempts force row level security;
alter table audit_logs enable row level security;
alter table audit_logs force row level security;

create policy own_read on users for select to visiona_app, visiona_worker
  using (id = (select visiona.uid()));
create policy system_read on users for select to visiona_worker using ((select visiona.is_system()));
create policy system_update on users for update to visiona_worker
  using ((select visiona.is_system())) with check ((select visiona.is_system()));
create policy auth_all on users for all to visiona_auth using (true) with check (true);

create policy auth_all on credentials for all to visiona_auth using (true) with check (true);

create policy own_read on sessions for select to visiona_app using (user_id = (select visiona.uid()));
-- A revoked session is no row to update: it stays revoked.
create policy own_revoke on sessions for update to visiona_app
  using (user_id = (select visiona.uid()) and revoked_at is null)
  with check (user_id = (select visiona.uid()));
create policy auth_all on sessions for all to visiona_auth using (true) with check (true);
create policy system_purge_read on sessions for select to visiona_worker
  using ((select visiona.is_system()));
create policy system_purge on sessions for delete to visiona_worker using ((select visiona.is_system()));

create policy auth_all on sign_in_attempts for all to visiona_auth using (true) with check (true);

-- Append-only: no role has UPDATE or DELETE.
create policy own_append on audit_logs for insert to visiona_app, visiona_worker
  with check (user_id = (select visiona.uid()));
create policy own_read on audit_logs for select to visiona_app, visiona_worker
  using (user_id = (select visiona.uid()));
create policy system_append on audit_logs for insert to visiona_worker
  with check ((select visiona.is_system()));
create policy system_read on audit_logs for select to visiona_worker using ((select visiona.is_system()));
create policy auth_append on audit_logs for insert to visiona_auth with check (action = 'account.created');

grant select on users to visiona_app, visiona_worker;
grant update (status) on users to visiona_worker;
grant select, insert, update, delete on users, credentials, sessions, sign_in_attempts to visiona_auth;
grant select, update (revoked_at, last_seen_at) on sessions to visiona_app;
grant select, delete on sessions to visiona_worker;
grant select, insert (user_id, action, details) on audit_logs to visiona_app, visiona_worker;
grant insert (user_id, action) on audit_logs to visiona_auth;

-- What must happen before anybody is known. Each function does one thing for one key, so that the
-- application role can sign people in without being able to read their rows.

create function visiona.sign_up(subject text, address text, hash text) returns bigint
  language plpgsql security definer set search_path = public, pg_temp
as $$
declare
  new_id bigint;
begin
  insert into users (clerk_id, email) values (subject, address)
    on conflict (email) do nothing returning id into new_id;
  if new_id is not null then
    insert into credentials (user_id, password_hash) values (new_id, hash);
    insert into audit_logs (user_id, action) values (new_id, 'account.created');
  end if;
  return new_id;
end $$;

create function visiona.find_credentials(address text)
  returns table (user_id bigint, subject text, password_hash text, status text)
  language sql stable security definer set search_path = public, pg_temp
as $$
  select u.id, u.clerk_id, c.password_hash, u.status
  from users u join credentials c on c.user_id = u.id
  where u.email = address
$$;

create function visiona.rehash(owner_id bigint, old_hash text, new_hash text) returns void
  language sql security definer set search_path = public, pg_temp
as $$
  update credentials set password_hash = new_hash
  where user_id = owner_id and password_hash = old_hash
$$;

create function visiona.open_session(
  session_id uuid, owner_id bigint, hash bytea, agent text, expires timestamptz) returns void
  language sql security definer set search_path = public, pg_temp
as $$
  insert into sessions (id, user_id, secret_hash, client, expires_at)
  values (session_id, owner_id, hash, agent, expires)
$$;

-- A live session by its id (from a verified token) or by the hash of its secret (from a cookie).
create function visiona.find_session(by_id uuid, by_hash bytea)
  returns table (session_id uuid, user_id bigint, subject text, status text)
  language sql stable security definer set search_path = public, pg_temp
as $$
  select s.id, u.id, u.clerk_id, u.status
  from sessions s join users u on u.id = s.user_id
  where (s.id = by_id or s.secret_hash = by_hash)
    and s.revoked_at is null and s.expires_at > now()
$$;

-- Count an attempt before it is tried, in one statement, so that parallel guesses cannot slip
-- through. Answers the seconds to wait; 0 means go ahead. Delay doubles from 1 s once `free` failures
-- are used up, to at most `ceiling`; a quiet quarter of an hour forgets them.
create function visiona.count_attempt(key bytea, free integer, ceiling integer) returns integer
  language plpgsql security definer set search_path = public, pg_temp
as $$
declare
  entry sign_in_attempts;
  wait integer;
begin
  insert into sign_in_attempts as a (key_hash, failures, last_at) values (key, 0, clock_timestamp())
    on conflict (key_hash) do update set failures = a.failures
    returning * into entry;
  if entry.last_at < clock_timestamp() - interval '15 minutes' then
    entry.failures := 0;
  end if;
  if entry.failures >= free then
    wait := ceil(least(ceiling, power(2, least(entry.failures - free, 20)))
      - extract(epoch from clock_timestamp() - entry.last_at));
    if wait > 0 then
      return wait;
    end if;
  end if;
  update sign_in_attempts set failures = entry.failures + 1, last_at = clock_timestamp()
    where key_hash = key;
  return 0;
end $$;

create function visiona.forget_attempts(key bytea) returns void
  language sql security definer set search_path = public, pg_temp
as $$ delete from sign_in_attempts where key_hash = key $$;

-- Take back one attempt that turned out well, where the key stands for many people.
create function visiona.take_back_attempt(key bytea) returns void
  language sql security definer set search_path = public, pg_temp
as $$ update sign_in_attempts set failures = greatest(failures - 1, 0) where key_hash = key $$;

create function visiona.purge_attempts() returns void
  language sql security definer set search_path = public, pg_temp
as $$
  delete from sign_in_attempts where key_hash in (
    select key_hash from sign_in_attempts where last_at < now() - interval '1 day'
    for update skip locked)
$$;

-- Granted before they are handed over: the owner of the schema has no say in them afterwards.
grant create on schema visiona to visiona_auth;
do $$
declare
  name text;
begin
  foreach name in array array[
    'sign_up(text, text, text)', 'find_credentials(text)', 'rehash(bigint, text, text)',
    'open_session(uuid, bigint, bytea, text, timestamptz)', 'find_session(uuid, bytea)',
    'count_attempt(bytea, integer, integer)', 'forget_attempts(bytea)', 'take_back_attempt(bytea)']
  loop
    execute format('grant execute on function visiona.%s to visiona_app', name);
    execute format('alter function visiona.%s owner to visiona_auth', name);
  end loop;
end $$;
grant execute on function visiona.purge_attempts() to visiona_worker;
alter function visiona.purge_attempts() owner to visiona_auth;
revoke create on schema visiona from visiona_auth;
