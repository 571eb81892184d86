-- Accounts finished: verified addresses, one-time links, sessions that know how fresh they are and
-- whom they hang on, people whom an identity service vouches for, and administrators.

alter table users
  -- When it was shown last that the person reads this address.
  add column email_verified_at timestamptz,
  add column role text not null default 'member' check (role in ('member', 'admin')),
  -- The identity service does not let them in. `status` is ours: both have to allow it.
  add column barred boolean not null default false,
  -- Of the service's record that was read last: an older one that comes late changes nothing.
  add column revision bigint not null default 0,
  drop constraint users_status_check,
  add constraint users_status_check check (status in ('active', 'suspended', 'deleted'));

alter table sessions
  -- When the person proved last who they are: some changes want that to be recent.
  add column confirmed_at timestamptz not null default current_timestamp,
  -- The session at the identity service that this one ends with.
  add column provider_session_id text check (length(provider_session_id) <= 255),
  add column checked_at timestamptz not null default current_timestamp;
create index sessions_provider on sessions (provider_session_id) where provider_session_id is not null;
create index sessions_checked on sessions (checked_at)
  where provider_session_id is not null and revoked_at is null;

-- Subjects that the identity service has deleted, as SHA-256: news of them that come late, or a token
-- that has not run out, must not bring them back.
create table departed_subjects (
  subject_hash bytea primary key check (length(subject_hash) = 32),
  departed_at timestamptz not null default current_timestamp
);

-- One-time links that were sent by mail. The secret in the link is made from the id when the mail is
-- written, and is nowhere here.
create table email_links (
  id uuid primary key,
  user_id bigint not null references users on delete cascade,
  purpose text not null check (purpose in ('verify', 'reset', 'change')),
  address text not null check (length(address) <= 254),
  created_at timestamptz not null default current_timestamp,
  expires_at timestamptz not null,
  used_at timestamptz
);
create index email_links_user on email_links (user_id, purpose);
create index email_links_expiry on email_links (expires_at);

alter table departed_subjects enable row level security;
alter table departed_subjects force row level security;
alter table email_links enable row level security;
alter table email_links force row level security;

create policy auth_read on departed_subjects for select to visiona_auth using (true);
create policy system_all on departed_subjects for all to visiona_worker
  using ((select visiona.is_system())) with check ((select visiona.is_system()));
create policy own_all on email_links for all to visiona_app
  using (user_id = (select visiona.uid())) with check (user_id = (select visiona.uid()));
-- A link that was used stays used.
create policy once on email_links as restrictive for update to visiona_app
  using (used_at is null) with check (true);
create policy auth_read on email_links for select to visiona_auth using (true);
create policy system_purge_read on email_links for select to visiona_worker
  using ((select visiona.is_system()));
create policy system_purge on email_links for delete to visiona_worker using ((select visiona.is_system()));
create policy system_update on sessions for update to visiona_worker
  using ((select visiona.is_system())) with check ((select visiona.is_system()));

grant select on departed_subjects to visiona_auth;
grant select, insert (subject_hash) on departed_subjects to visiona_worker;
grant select, insert (id, user_id, purpose, address, expires_at), update (used_at) on email_links
  to visiona_app;
grant select on email_links to visiona_auth;
grant select, delete on email_links to visiona_worker;
grant update (email, email_verified_at, role, barred, revision) on users to visiona_worker;
-- The hash of a session's secret is for finding the session by it, not for reading.
revoke select on sessions from visiona_app;
grant select (id, user_id, client, created_at, last_seen_at, expires_at, revoked_at, confirmed_at,
    provider_session_id),
  update (confirmed_at) on sessions to visiona_app;
grant update (revoked_at, checked_at) on sessions to visiona_worker;

grant create on schema visiona to visiona_auth;
set local role visiona_auth;

drop function visiona.open_session(uuid, bigint, bytea, text, timestamptz);
-- Answers when the person has proved who they are: now.
create function visiona.open_session(
  session_id uuid, hash bytea, agent text, expires timestamptz, provider_session text)
  returns timestamptz
  language plpgsql security definer set search_path = public, pg_temp
as $$
begin
  if visiona.uid() is null then
    raise insufficient_privilege using message = 'this transaction is for nobody';
  end if;
  insert into sessions (id, user_id, secret_hash, client, expires_at, provider_session_id)
    values (session_id, visiona.uid(), hash, agent, expires, provider_session);
  return current_timestamp;
end $$;

-- A live session by its id (from a verified token) or by the hash of its secret (from a cookie):
-- neither can be guessed.
drop function visiona.find_session(uuid, bytea);
create function visiona.find_session(by_id uuid, by_hash bytea)
  returns table (session_id uuid, user_id bigint, subject text, confirmed_at timestamptz,
    provider_session_id text, status text, role text, email_verified boolean)
  language sql stable security definer set search_path = public, pg_temp
as $$
  select s.id, u.id, u.clerk_id, s.confirmed_at, s.provider_session_id,
    case when u.barred and u.status = 'active' then 'suspended' else u.status end,
    u.role, u.email_verified_at is not null
  from sessions s join users u on u.id = s.user_id
  where (uuid_send(s.id) = uuid_send(by_id) or s.secret_hash = by_hash)
    and s.revoked_at is null and s.expires_at > now()
$$;

-- Whom a token of the identity service names, and whether the session that it is of has ended here.
create function visiona.find_subject(wanted text, provider_session text)
  returns table (user_id bigint, status text, role text, email_verified boolean, ended boolean)
  language sql stable security definer set search_path = public, pg_temp
as $$
  select u.id, case when u.barred and u.status = 'active' then 'suspended' else u.status end,
    u.role, u.email_verified_at is not null,
    exists (select from sessions s
      where s.provider_session_id = provider_session and s.revoked_at is not null)
  from users u
  where u.clerk_id = wanted and (select visiona.looks_up(wanted))
$$;

-- Whoever writes down what the identity service says of people holds this lock meanwhile.
create function visiona.identity_lock() returns bigint
  language sql immutable return hashtextextended('visiona.identity', 0);

-- What the identity service says of somebody, written down unless something newer is; who is not known yet
-- gets a row. Null for who was deleted there, for who has no address, and where somebody with a password of
-- ours has it. An address that another of the service's people has here is out of date: the service gives it
-- to one only. Who is known stays so without an address, or with one that cannot be theirs.
create function visiona.adopt(
  wanted text, address text, verified boolean, is_barred boolean, new_revision bigint) returns bigint
  language plpgsql security definer set search_path = public, pg_temp
as $$
declare
  found_id bigint;
  theirs text;
begin
  if not visiona.looks_up(wanted) then
    raise insufficient_privilege using message = 'this transaction is for nobody who is vouched for';
  end if;
  select u.id into found_id from users u
    where u.clerk_id = wanted and u.revision = new_revision and u.email = address and u.barred = is_barred
      and (u.email_verified_at is not null) = verified;
  if found then
    return found_id;
  end if;
  -- One at a time: people swap addresses, and who departs must not come back meanwhile.
  perform pg_advisory_xact_lock(visiona.identity_lock());
  if exists (select from departed_subjects d where d.subject_hash = sha256(convert_to(wanted, 'UTF8'))) then
    return null;
  end if;
  select u.id into found_id from users u where u.clerk_id = wanted;
  if exists (select from users u
      where u.id = found_id and (u.revision > new_revision or u.status = 'deleted')) then
    return found_id;
  end if;
  update users u set email = u.id || '@replaced.invalid', email_verified_at = null, revision = 0
    where lower(u.email) = address and u.clerk_id <> wanted
      and not exists (select from credentials c where c.user_id = u.id);
  if found_id is null then
    insert into users (clerk_id, email, email_verified_at, barred, revision)
      select wanted, address, case when verified then now() end, is_barred, new_revision
      where address is not null
      on conflict do nothing returning id into found_id;
    if found_id is not null then
      insert into audit_logs (user_id, action) values (found_id, 'account.created');
    end if;
    return found_id;
  end if;
  theirs := case when exists (select from users u where lower(u.email) = address and u.id <> found_id)
    then null else address end;
  update users u set email = coalesce(theirs, u.id || '@replaced.invalid'), barred = is_barred,
      revision = new_revision,
      email_verified_at = case
        when theirs is null or not verified then null
        when u.email = theirs then coalesce(u.email_verified_at, now()) else now() end
    where u.id = found_id;
  return found_id;
end $$;

-- The signed-in person's own password.
create function visiona.own_password() returns text
  language sql stable security definer set search_path = public, pg_temp
as $$ select password_hash from credentials where user_id = (select visiona.uid()) $$;

-- A new one; whoever was signed in by the old one is so no more, but for one session that is kept.
create function visiona.set_password(new_hash text, kept_session uuid) returns boolean
  language plpgsql security definer set search_path = public, pg_temp
as $$
begin
  update credentials set password_hash = new_hash, changed_at = now() where user_id = visiona.uid();
  if not found then
    return false;
  end if;
  update sessions set revoked_at = now()
    where user_id = visiona.uid() and id is distinct from kept_session and revoked_at is null;
  return true;
end $$;

-- False where the address is somebody else's. Only in a transaction for that address: otherwise it
-- would tell of any address whether it is taken.
create function visiona.set_address(address text) returns boolean
  language plpgsql security definer set search_path = public, pg_temp
as $$
begin
  if not visiona.looks_up(address) then
    raise insufficient_privilege using message = 'this transaction is for no such address';
  end if;
  update users set email = address, email_verified_at = now() where id = visiona.uid();
  return found;
exception when unique_violation then
  return false;
end $$;

create function visiona.find_email_link(wanted uuid)
  returns table (user_id bigint, subject text, purpose text, address text, current_address text,
    status text)
  language sql stable security definer set search_path = public, pg_temp
as $$
  select u.id, u.clerk_id, l.purpose, l.address, u.email,
    case when u.barred and u.status = 'active' then 'suspended' else u.status end
  from email_links l join users u on u.id = l.user_id
  where uuid_send(l.id) = uuid_send(wanted) and l.used_at is null and l.expires_at > now()
$$;

-- Whether it is an administrator who asks, by their row and not by what was claimed alone.
create function visiona.is_admin() returns boolean
  language sql stable security definer set search_path = public, pg_temp
as $$
  select coalesce((visiona.claims() ->> 'role') = 'admin', false) and exists (
    select from users u where u.id = visiona.uid() and u.role = 'admin' and u.status = 'active' and not u.barred)
$$;

grant execute on function visiona.open_session(uuid, bytea, text, timestamptz, text),
  visiona.find_session(uuid, bytea), visiona.find_subject(text, text),
  visiona.adopt(text, text, boolean, boolean, bigint), visiona.own_password(),
  visiona.set_password(text, uuid), visiona.set_address(text), visiona.find_email_link(uuid),
  visiona.is_admin() to visiona_app;
grant execute on function visiona.adopt(text, text, boolean, boolean, bigint), visiona.identity_lock()
  to visiona_worker;
grant execute on function visiona.claims() to authenticated;

set local role visiona_owner;
revoke create on schema visiona from visiona_auth;

-- People who come with a token of the identity service through PostgREST (Supabase), as the role
-- `authenticated`: they read what is theirs, by the same policies. What is to be done goes through
-- Visiona, where quota, objects and jobs move together.
do $$
declare
  entry record;
begin
  for entry in
    select p.schemaname, p.tablename, p.policyname
    from pg_policies p
    where p.schemaname = 'public' and p.policyname in ('own_read', 'own_all', 'everyone_reads')
      and p.tablename in ('users', 'plans', 'entitlements', 'quota_usage', 'payments', 'photos', 'models',
        'model_photos', 'runs', 'generations', 'subscriptions', 'invoices', 'audit_logs')
  loop
    execute format('alter policy %I on %I to visiona_app, visiona_worker, authenticated',
      entry.policyname, entry.tablename);
  end loop;
end $$;
grant usage on schema visiona to authenticated;
grant execute on function visiona.uid() to authenticated;
grant select (id, clerk_id, email, created_at) on users to authenticated;
grant select on plans, entitlements, quota_usage, payments, models, model_photos, subscriptions, invoices
  to authenticated;
grant select (id, user_id, file_url, thumbnail_url, width, height, warnings, uploaded_at) on photos
  to authenticated;
grant select (id, user_id, model_id, prompt, enhance, enhanced_prompt, enhancement_outcome, num_outputs,
  state, progress, error_code, error_message, created_at, finished_at) on runs to authenticated;
grant select (id, user_id, model_id, run_id, position, prompt, enhanced_prompt, image_url, thumbnail_url,
  content_type, width, height, seed, parameters, created_at) on generations to authenticated;
grant select (id, user_id, action, details, created_at) on audit_logs to authenticated;
