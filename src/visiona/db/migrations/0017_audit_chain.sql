-- The audit log says who, from where and in which request, and cannot be changed without that showing.
--
-- Entries are written without waiting for each other. Every few seconds the worker gives those that are new
-- a place in one chain: a number, and the SHA-256 of the entry before and of this one. What is hashed names
-- nobody: of a person, of where they were and of an administrator's reason there is only a hash, of something
-- random, so that all three can be removed and the chain still holds.

alter table audit_logs
  -- Who did it. `visitor` is somebody who had not shown yet who they are; `actor_id` is the number of the
  -- API key or of the administrator, or the name of the part of Visiona. A person's own is `user_id`.
  add column actor_kind text check (actor_kind in ('person', 'key', 'admin', 'system', 'visitor')),
  add column actor_id text check (length(actor_id) <= 100),
  -- What it was done to; null where it is the account itself.
  add column object_kind text check (length(object_kind) <= 40),
  add column object_id text check (length(object_id) <= 100),
  add column request_id text check (length(request_id) <= 100),
  -- The network address and the browser, sealed with the key of whoever acted.
  add column client bytea
    constraint audit_logs_client_sealed check (substring(client from 1 for 1) = '\xf8'),
  -- An administrator's reason, sealed with the key of the person whose log it is.
  add column private bytea
    constraint audit_logs_private_sealed check (substring(private from 1 for 1) = '\xf8'),
  -- What hides the person in `person_hash`; gone with them.
  add column salt bytea,
  add column person_hash bytea,
  add column client_hash bytea,
  add column private_hash bytea,
  add column seq bigint check (seq > 0),
  add column previous_hash bytea,
  add column entry_hash bytea,
  add constraint audit_logs_chained check (
    (seq is null) = (previous_hash is null) and (seq is null) = (entry_hash is null)
    and (seq is null or person_hash is not null));
-- Only what is written from here on: rows of before get theirs with their place in the chain.
alter table audit_logs alter column salt set default uuid_send(gen_random_uuid());

create unique index audit_logs_seq on audit_logs (seq);
create index audit_logs_unchained on audit_logs (id) where seq is null;
create index audit_logs_action on audit_logs (reverse(action), id);

do $$
declare
  name text;
begin
  foreach name in array array['actor_kind', 'actor_id', 'object_kind', 'object_id', 'request_id', 'client',
      'private', 'salt', 'person_hash', 'client_hash', 'private_hash', 'previous_hash', 'entry_hash'] loop
    execute format('alter table audit_logs alter column %I set statistics 0', name);
  end loop;
end $$;
alter index audit_logs_action alter column 1 set statistics 0;

-- The anchors that were made, so that the next one knows the one before and none is left unwritten. What
-- counts is outside: nothing is verified by these rows.
create table audit_anchors (
  id bigint generated always as identity primary key,
  seq bigint not null,
  body bytea not null,
  created_at timestamptz not null default clock_timestamp(),
  stored_at timestamptz
);
create index audit_anchors_unstored on audit_anchors (id) where stored_at is null;
alter table audit_anchors alter column body set statistics 0;
alter table audit_anchors enable row level security;
alter table audit_anchors force row level security;
create policy system_read on audit_anchors for select to visiona_worker using ((select visiona.is_system()));
create policy system_append on audit_anchors for insert to visiona_worker
  with check ((select visiona.is_system()));
create policy system_mark on audit_anchors for update to visiona_worker
  using ((select visiona.is_system())) with check ((select visiona.is_system()));
grant select, insert (seq, body), update (stored_at) on audit_anchors to visiona_worker;

revoke select on audit_logs from visiona_app;
grant select (id, user_id, action, details, created_at, actor_kind, actor_id, object_kind, object_id,
    request_id, client, private, seq) on audit_logs to visiona_app;
grant insert (object_kind, object_id, private) on audit_logs to visiona_app, visiona_worker;
grant select (actor_kind, actor_id, object_kind, object_id, request_id, client, private, salt, person_hash,
    client_hash, private_hash, seq, previous_hash, entry_hash),
  update (user_id, client, private, salt, person_hash, client_hash, private_hash, seq, previous_hash,
    entry_hash), insert (private)
  on audit_logs to visiona_auth;
alter policy admin_read on audit_logs
  using ((select visiona.is_admin()) or (select visiona.is_system()));
create policy chain_update on audit_logs for update to visiona_auth
  using ((select visiona.is_system())) with check ((select visiona.is_system()));
alter policy auth_append on audit_logs
  with check (action = 'account.created' or (starts_with(action, 'admin.') and (select visiona.is_admin()))
    or (action = 'account.erased' and (select visiona.is_system())));

-- Length and value, so that no two lists of values look alike; nothing has the length -1.
create function visiona.audit_part(value bytea) returns bytea
  language sql immutable
  return int4send(coalesce(length(value), -1)) || coalesce(value, '');

create function visiona.audit_part(value text) returns bytea
  language sql immutable
  return int4send(coalesce(octet_length(value), -1)) || coalesce(convert_to(value, 'UTF8'), '');

create function visiona.audit_person(salt bytea, person bigint) returns bytea
  language sql immutable
  return sha256(visiona.audit_part(salt) || visiona.audit_part(person::text));

-- Whoever lengthens the chain, or forgets somebody in it, holds this lock meanwhile.
create function visiona.audit_lock() returns bigint
  language sql immutable return hashtextextended('visiona.audit', 0);

-- Who acts, from where and in which request is taken from the proved identity: no statement says it.
create function visiona.audit_origin() returns trigger
  language plpgsql set search_path = public, pg_temp
as $$
declare
  claims jsonb := visiona.claims();
begin
  if claims is null then
    return new;
  end if;
  new.actor_kind := case claims ->> 'role'
    when 'system' then 'system' when 'admin' then 'admin' when 'anon' then 'visitor'
    else coalesce(claims ->> 'via', 'person') end;
  new.actor_id := case new.actor_kind
    when 'admin' then claims ->> 'user_id'
    when 'system' then case when claims ->> 'via' = 'system' then claims ->> 'via_id'
      else substring(claims ->> 'sub' from '^system:(.*)$') end
    when 'key' then claims ->> 'via_id' end;
  new.request_id := claims ->> 'request';
  new.client := decode(claims ->> 'client', 'base64');
  return new;
end $$;
create trigger audit_origin before insert on audit_logs
  for each row execute function visiona.audit_origin();

-- An entry is given its place once, and may lose its person; nothing else happens to it. The person goes by
-- the functions below, or with their row in `users`, which this then does itself.
create function visiona.audit_guard() returns trigger
  language plpgsql set search_path = public, pg_temp
as $$
begin
  if tg_op = 'UPDATE' then
    if pg_trigger_depth() > 1 and new.user_id is null and old.user_id is not null then
      new.person_hash := coalesce(old.person_hash,
        visiona.audit_person(coalesce(old.salt, uuid_send(gen_random_uuid())), old.user_id));
      new.client_hash := coalesce(old.client_hash, sha256(old.client));
      new.private_hash := coalesce(old.private_hash, sha256(old.private));
      new.salt := null;
      new.client := null;
      new.private := null;
    elsif current_user <> 'visiona_auth' then
      raise insufficient_privilege using message = 'an entry of the audit log is not changed';
    end if;
    if (new.id, new.action, new.details, new.created_at, new.actor_kind, new.actor_id, new.object_kind,
          new.object_id, new.request_id)
        is not distinct from (old.id, old.action, old.details, old.created_at, old.actor_kind, old.actor_id,
          old.object_kind, old.object_id, old.request_id)
      and (old.seq is null or (new.seq, new.previous_hash, new.entry_hash, new.person_hash, new.client_hash,
          new.private_hash) is not distinct from (old.seq, old.previous_hash, old.entry_hash,
          old.person_hash, old.client_hash, old.private_hash))
      and (new.user_id is null and new.salt is null and new.client is null and new.private is null
          or new.seq is not null and old.seq is null and (new.user_id, new.client, new.private)
            is not distinct from (old.user_id, old.client, old.private))
    then
      return new;
    end if;
  end if;
  raise insufficient_privilege using message = 'an entry of the audit log is not changed';
end $$;
create trigger audit_guard before update or delete on audit_logs
  for each row execute function visiona.audit_guard();
create trigger audit_guard_all before truncate on audit_logs
  for each statement execute function visiona.audit_guard();

grant execute on function visiona.audit_part(bytea), visiona.audit_part(text),
  visiona.audit_person(bytea, bigint), visiona.audit_lock() to visiona_auth, visiona_worker;

grant create on schema visiona to visiona_auth;
set local role visiona_auth;

-- Give the oldest new entries their places; answers how many. Only with the lock is the end of the chain
-- known, so there is one chain whoever calls this, and how often at once.
create function visiona.chain_audit(amount integer) returns integer
  language plpgsql security definer set search_path = public, pg_temp
as $$
declare
  last_seq bigint := 0;
  last_hash bytea := decode(repeat('00', 32), 'hex');
  entry record;
  ids bigint[] := '{}';
  salts bytea[] := '{}';
  people bytea[] := '{}';
  clients bytea[] := '{}';
  privates bytea[] := '{}';
  seqs bigint[] := '{}';
  befores bytea[] := '{}';
  hashes bytea[] := '{}';
begin
  if not visiona.is_system() then
    raise insufficient_privilege using message = 'this transaction is for no part of Visiona';
  end if;
  perform pg_advisory_xact_lock(visiona.audit_lock());
  select a.seq, a.entry_hash into entry from audit_logs a where a.seq is not null order by a.seq desc limit 1;
  if found then
    last_seq := entry.seq;
    last_hash := entry.entry_hash;
  end if;
  for entry in
    with new as materialized (
      select a.*, coalesce(a.salt, case when a.person_hash is null then uuid_send(gen_random_uuid()) end)
        as its_salt
      from audit_logs a where a.seq is null order by a.id limit amount),
    hashed as materialized (
      select n.*, coalesce(n.person_hash, visiona.audit_person(n.its_salt, n.user_id)) as its_person,
        coalesce(n.client_hash, sha256(n.client)) as its_client,
        coalesce(n.private_hash, sha256(n.private)) as its_private
      from new n)
    select h.id, h.its_salt, h.its_person, h.its_client, h.its_private,
      visiona.audit_part(h.id::text)
        || visiona.audit_part(((extract(epoch from h.created_at) * 1000000)::bigint)::text)
        || visiona.audit_part(h.action)
        || visiona.audit_part(h.actor_kind) || visiona.audit_part(h.actor_id)
        || visiona.audit_part(h.object_kind) || visiona.audit_part(h.object_id)
        || visiona.audit_part(h.request_id)
        || visiona.audit_part(h.its_person)
        || visiona.audit_part(sha256(convert_to(h.details::text, 'UTF8')))
        || visiona.audit_part(h.its_client) || visiona.audit_part(h.its_private) as content
    from hashed h order by h.id
  loop
    ids := ids || entry.id;
    salts := salts || entry.its_salt;
    people := people || entry.its_person;
    clients := clients || entry.its_client;
    privates := privates || entry.its_private;
    befores := befores || last_hash;
    last_seq := last_seq + 1;
    last_hash := sha256(visiona.audit_part('visiona.audit.1') || visiona.audit_part(last_seq::text)
      || visiona.audit_part(last_hash) || entry.content);
    seqs := seqs || last_seq;
    hashes := hashes || last_hash;
  end loop;
  update audit_logs a
    set seq = n.seq, previous_hash = n.before, entry_hash = n.hash, salt = n.salt, person_hash = n.person,
      client_hash = n.client, private_hash = n.private
    from unnest(ids, seqs, befores, hashes, salts, people, clients, privates)
      as n (id, seq, before, hash, salt, person, client, private)
    where a.id = n.id and a.seq is null;
  return cardinality(ids);
end $$;

-- Take a person, where they were and reasons about them out of their entries, which stay. Answers how many
-- there were; that number is on record, in an entry that is nobody's.
create function visiona.forget_in_audit(person bigint) returns bigint
  language plpgsql security definer set search_path = public, pg_temp
as $$
declare
  forgotten bigint;
begin
  if not visiona.is_system() then
    raise insufficient_privilege using message = 'this transaction is for no part of Visiona';
  end if;
  perform pg_advisory_xact_lock(visiona.audit_lock());
  update audit_logs a set user_id = null, salt = null, client = null, private = null,
      person_hash = coalesce(a.person_hash,
        visiona.audit_person(coalesce(a.salt, uuid_send(gen_random_uuid())), a.user_id)),
      client_hash = coalesce(a.client_hash, sha256(a.client)),
      private_hash = coalesce(a.private_hash, sha256(a.private))
    where a.user_id = person;
  get diagnostics forgotten = row_count;
  if forgotten > 0 then
    insert into audit_logs (user_id, action, details)
      values (null, 'account.erased', jsonb_build_object('entries', forgotten));
  end if;
  return forgotten;
end $$;
grant execute on function visiona.chain_audit(integer), visiona.forget_in_audit(bigint) to visiona_worker;

-- Administrators' acts, with a reason that only the key of the person opens.

drop function visiona.write_admin_act(bigint, text, jsonb);
create function visiona.write_admin_act(person bigint, act text, more jsonb, reason bytea default null)
  returns bigint
  language sql security definer set search_path = public, pg_temp
as $$
  insert into audit_logs (user_id, action, details, private)
  values (person, act, jsonb_build_object('by', visiona.uid()) || more, reason)
  returning id
$$;

drop function visiona.admin_obstacle(bigint, text);
create function visiona.admin_obstacle(person bigint, reason bytea) returns text
  language plpgsql security definer set search_path = public, pg_temp
as $$
declare
  target_id bigint;
  target_status text;
  target_role text;
begin
  if not visiona.is_admin() then
    raise insufficient_privilege using message = 'this transaction is for no administrator';
  end if;
  if reason is null then
    raise check_violation using message = 'an act has a reason';
  end if;
  select u.id, u.status, u.role into target_id, target_status, target_role
    from users u where u.id = person for no key update;
  return case
    when target_id is null or target_status = 'deleted' then 'unknown'
    when target_id = visiona.uid() then 'oneself'
    when target_role = 'admin' then 'administrator' end;
end $$;

create or replace function visiona.look_at(person bigint, content boolean) returns boolean
  language plpgsql security definer set search_path = public, pg_temp
as $$
begin
  if not visiona.is_admin() or not exists (select from users u where u.id = person) then
    return false;
  end if;
  if content then
    if person not in (select visiona.supported()) then
      return false;
    end if;
    perform visiona.write_admin_act(person, 'admin.content_viewed', '{}');
  elsif not visiona.has_looked(person, 'admin.viewed', '1 hour') then
    perform visiona.write_admin_act(person, 'admin.viewed', '{}');
  end if;
  return true;
end $$;

drop function visiona.suspend(bigint, text);
create function visiona.suspend(person bigint, reason bytea) returns text
  language plpgsql security definer set search_path = public, pg_temp
as $$
declare
  obstacle text := visiona.admin_obstacle(person, reason);
begin
  if obstacle is not null then
    return obstacle;
  end if;
  update users set status = 'suspended' where id = person and status = 'active';
  if not found then
    return 'unchanged';
  end if;
  perform visiona.end_all_sessions(person);
  update runs set cancel_requested_at = now()
    where user_id = person and finished_at is null and cancel_requested_at is null;
  update trainings set cancel_requested_at = now()
    where user_id = person and finished_at is null and cancel_requested_at is null;
  perform visiona.write_admin_act(person, 'admin.suspended', '{}', reason);
  return 'done';
end $$;

drop function visiona.unsuspend(bigint, text);
create function visiona.unsuspend(person bigint, reason bytea) returns text
  language plpgsql security definer set search_path = public, pg_temp
as $$
declare
  obstacle text := visiona.admin_obstacle(person, reason);
begin
  if obstacle is not null then
    return obstacle;
  end if;
  update users set status = 'active' where id = person and status = 'suspended';
  if not found then
    return 'unchanged';
  end if;
  perform visiona.write_admin_act(person, 'admin.unsuspended', '{}', reason);
  return 'done';
end $$;

drop function visiona.end_sessions(bigint, text);
create function visiona.end_sessions(person bigint, reason bytea) returns text
  language plpgsql security definer set search_path = public, pg_temp
as $$
declare
  obstacle text := visiona.admin_obstacle(person, reason);
  ended bigint;
begin
  if obstacle = 'unknown' then
    return obstacle;
  end if;
  ended := visiona.end_all_sessions(person);
  if ended = 0 then
    return 'unchanged';
  end if;
  perform visiona.write_admin_act(person, 'admin.sessions_ended', jsonb_build_object('sessions', ended), reason);
  return 'done';
end $$;

drop function visiona.order_plan(bigint, text, text);
create function visiona.order_plan(person bigint, plan text, reason bytea) returns bigint
  language plpgsql security definer set search_path = public, pg_temp
as $$
begin
  if visiona.admin_obstacle(person, reason) = 'unknown' then
    return null;
  end if;
  return visiona.write_admin_act(person, 'admin.plan_set', jsonb_build_object('plan', plan), reason);
end $$;

-- Reading the log. One person's is answered after a look at them is on record, everybody's after a look at
-- the log is.

create function visiona.look_at_log() returns boolean
  language plpgsql security definer set search_path = public, pg_temp
as $$
begin
  if not visiona.is_admin() then
    return false;
  end if;
  if not visiona.has_looked(visiona.uid(), 'admin.log_viewed', '1 hour') then
    perform visiona.write_admin_act(visiona.uid(), 'admin.log_viewed', '{}');
  end if;
  return true;
end $$;

drop function visiona.person_history(bigint, bigint, integer);
drop function visiona.admin_acts(bigint, integer);
-- Entries of one person or of everybody, of one action or of all (`admin.` stands for all that administrators
-- do), from `since` and before `until`; the newest first, older than the entry `before`.
create function visiona.audit_entries(person bigint, act text, since timestamptz, until timestamptz,
    before bigint, amount integer)
  returns table (id bigint, user_id bigint, action text, details jsonb, created_at timestamptz,
    actor_kind text, actor_id text, object_kind text, object_id text, request_id text, client bytea,
    private bytea)
  language sql stable security definer set search_path = public, pg_temp
as $$
  with chosen (id) as (
    (select a.id from audit_logs a
      where person is not null and a.user_id = person
        and (act is null or a.action = act or act = 'admin.' and starts_with(a.action, 'admin.'))
        and (before is null or a.id < before)
        and (since is null or a.created_at >= since) and (until is null or a.created_at < until)
      order by a.id desc limit amount)
    union all
    (select a.id from audit_logs a
      where person is null and act = 'admin.' and starts_with(a.action, 'admin.')
        and (before is null or a.id < before)
        and (since is null or a.created_at >= since) and (until is null or a.created_at < until)
      order by a.id desc limit amount)
    union all
    (select a.id from audit_logs a
      where person is null and act <> 'admin.' and reverse(a.action) = reverse(act)
        and (before is null or a.id < before)
        and (since is null or a.created_at >= since) and (until is null or a.created_at < until)
      order by a.id desc limit amount)
    union all
    (select a.id from audit_logs a
      where person is null and act is null
        and (before is null or a.id < before)
        and (since is null or a.created_at >= since) and (until is null or a.created_at < until)
      order by a.id desc limit amount))
  select a.id, a.user_id, a.action, a.details, a.created_at, a.actor_kind, a.actor_id, a.object_kind,
    a.object_id, a.request_id, a.client, a.private
  from audit_logs a
  where a.id in (select c.id from chosen c)
    and (select case when person is null then visiona.has_looked(visiona.uid(), 'admin.log_viewed', '1 hour 1 minute')
      else visiona.has_looked(person, 'admin.viewed', '1 hour 1 minute') end)
  order by a.id desc limit least(amount, 101)
$$;

grant execute on function visiona.look_at_log(), visiona.suspend(bigint, bytea),
  visiona.unsuspend(bigint, bytea), visiona.end_sessions(bigint, bytea), visiona.order_plan(bigint, text, bytea),
  visiona.audit_entries(bigint, text, timestamptz, timestamptz, bigint, integer)
  to visiona_app;

set local role visiona_owner;
revoke create on schema visiona from visiona_auth;
