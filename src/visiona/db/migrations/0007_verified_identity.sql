-- Who is asking, verified.
--
-- Until now a transaction said who it was for, and the policies believed it: that stops a forgotten
-- WHERE, but not SQL that says something else. From here on claims count only with a proof: the
-- HMAC-SHA256, under a key that no login role can read, of the claims and of the transaction that
-- they are for. A proof that is overheard is worth nothing in any other transaction.
--
-- PostgREST needs none: it logs in as `authenticator`, which nobody else can, and has verified the
-- token whose claims it sets. Of those only the subject counts.

-- HMAC keys as their two padded blocks (RFC 2104), so that SQL needs nothing but SHA-256. All are
-- accepted; `visiona migrate` adds the present one and removes those that were replaced a day ago.
create table visiona.identity_keys (
  id text primary key,
  inner_pad bytea not null check (length(inner_pad) = 64),
  outer_pad bytea not null check (length(outer_pad) = 64),
  replaced_at timestamptz
);
alter table visiona.identity_keys enable row level security;
alter table visiona.identity_keys force row level security;
create policy owner_writes on visiona.identity_keys for all to visiona_owner using (true) with check (true);
create policy auth_reads on visiona.identity_keys for select to visiona_auth using (true);
grant select on visiona.identity_keys to visiona_auth;

-- What a proof is for: this login, this server process, this transaction.
create function visiona.challenge() returns text
  language sql stable
  return session_user || ' ' || pg_backend_pid() || ' ' || extract(epoch from transaction_timestamp());

create or replace function visiona.claims() returns jsonb
  language plpgsql stable security definer set search_path = ''
as $$
declare
  given text := nullif(pg_catalog.current_setting('request.jwt.claims', true), '');
  proof text := nullif(pg_catalog.current_setting('visiona.proof', true), '');
  verified jsonb;
begin
  if given is null then
    return null;
  end if;
  if session_user = 'authenticator' then
    select pg_catalog.jsonb_build_object('role', 'authenticated', 'sub', u.clerk_id, 'user_id', u.id)
      into verified
      from public.users u
      where u.clerk_id = given::jsonb ->> 'sub' and u.status = 'active' and not u.barred
        and given::jsonb ->> 'role' = 'authenticated';
    return verified;
  end if;
  select given::jsonb into verified
    from visiona.identity_keys k
    where proof = pg_catalog.encode(pg_catalog.sha256(k.outer_pad || pg_catalog.sha256(k.inner_pad ||
      pg_catalog.convert_to(visiona.challenge() || E'\n' || given, 'UTF8'))), 'hex');
  return verified;
end $$;

create or replace function visiona.uid() returns bigint
  language sql stable
  return (visiona.claims() ->> 'user_id')::bigint;

-- Whether the one key that this transaction was opened to look up is this one, by its SHA-256.
create function visiona.looks_up(key text) returns boolean
  language sql stable
  return coalesce(
    visiona.claims() ->> 'lookup' = encode(sha256(convert_to(key, 'UTF8')), 'hex'), false);

grant execute on function visiona.challenge(), visiona.looks_up(text)
  to visiona_app, visiona_worker, visiona_auth;

-- The functions that answer before anybody is known answer for what was proved, too. They are replaced
-- as the role that has them.

grant create on schema visiona to visiona_auth, visiona_worker;
set local role visiona_auth;
-- As in 0001, for what this role makes itself from here on.
alter default privileges revoke execute on functions from public;

create or replace function visiona.sign_up(subject text, address text, hash text) returns bigint
  language plpgsql security definer set search_path = public, pg_temp
as $$
declare
  new_id bigint;
begin
  if not visiona.looks_up(address) then
    raise insufficient_privilege using message = 'this transaction is for nobody who signs up';
  end if;
  insert into users (clerk_id, email) values (subject, address)
    on conflict (email) do nothing returning id into new_id;
  if new_id is not null then
    insert into credentials (user_id, password_hash) values (new_id, hash);
    insert into audit_logs (user_id, action) values (new_id, 'account.created');
  end if;
  return new_id;
end $$;

create or replace function visiona.find_credentials(address text)
  returns table (user_id bigint, subject text, password_hash text, status text)
  language sql stable security definer set search_path = public, pg_temp
as $$
  select u.id, u.clerk_id, c.password_hash, u.status
  from users u join credentials c on c.user_id = u.id
  where u.email = address and (select visiona.looks_up(address))
$$;

create or replace function visiona.rehash(owner_id bigint, old_hash text, new_hash text) returns void
  language sql security definer set search_path = public, pg_temp
as $$
  update credentials set password_hash = new_hash
  where user_id = owner_id and user_id = (select visiona.uid()) and password_hash = old_hash
$$;

create or replace function visiona.open_session(
  session_id uuid, owner_id bigint, hash bytea, agent text, expires timestamptz) returns void
  language plpgsql security definer set search_path = public, pg_temp
as $$
begin
  if owner_id is distinct from visiona.uid() then
    raise insufficient_privilege using message = 'this transaction is for somebody else';
  end if;
  insert into sessions (id, user_id, secret_hash, client, expires_at)
    values (session_id, owner_id, hash, agent, expires);
end $$;

set local role visiona_owner;

-- Jobs run as the worker: who asks for one may ask for their own work only. Whatever a job is not
-- told here, a person cannot ask for.
create function visiona.may_enqueue(task text, args jsonb) returns boolean
  language plpgsql stable
  set search_path = public, pg_temp
as $$
declare
  own bigint := visiona.uid();
begin
  if session_user = 'visiona_worker' or visiona.is_system() then
    return true;
  end if;
  case task
    when 'generations.submit', 'generations.apply', 'clones.submit', 'clones.apply', 'payments.sync' then
      return coalesce((args ->> 'user_id')::bigint = own, false);
    when 'objects.delete' then
      return own is not null and not exists (
        select from jsonb_array_elements_text(args -> 'keys') as keys (key)
        where not starts_with(key, 'u' || own || '/'));
    when 'clones.delete_version' then
      return exists (select from models m where m.user_id = own and m.version = args ->> 'version');
    when 'administration.set_plan' then
      return visiona.is_admin();
    when 'mail.send', 'accounts.end_remote' then  -- does what was due anyway, once
      return true;
    else
      return false;
  end case;
end $$;
grant execute on function visiona.may_enqueue(text, jsonb) to visiona_worker;

set local role visiona_worker;

create or replace function visiona.enqueue(task text, args jsonb, once boolean) returns bigint
  language plpgsql security definer
  set search_path = procrastinate, pg_temp
as $$
begin
  if not visiona.may_enqueue(task, args) then
    raise insufficient_privilege using message = 'this job is not yours to ask for';
  end if;
  if once and exists (
    select from procrastinate_jobs j
    where j.status = 'todo' and j.task_name = task and j.args = enqueue.args
      and (j.scheduled_at is null or j.scheduled_at <= now()))
  then
    return null;
  end if;
  return (procrastinate_defer_jobs_v1(array[
    row('default', task, 0, null, null, args, null)::procrastinate_job_to_defer_v1
  ]))[1];
end $$;

set local role visiona_owner;
alter function visiona.claims() owner to visiona_auth;
revoke create on schema visiona from visiona_auth, visiona_worker;
