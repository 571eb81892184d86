-- API keys: what a person's own programs show instead of a session.
--
-- A key is added and recognized by functions that answer for one key each; no role that logs in can
-- write its scopes or read what it is recognized by.

create table api_keys (
  id bigint generated always as identity primary key,
  user_id bigint not null references users on delete cascade,
  name text not null check (length(name) between 1 and 60),
  -- How the key begins, by which a person knows it again; tells nothing about the rest.
  prefix text not null check (prefix ~ '^vsk_[0-9A-Za-z]{22}$'),
  -- SHA-256 of the whole key, which has 256 random bits; the key itself is nowhere here.
  secret_hash bytea not null unique check (length(secret_hash) = 32),
  scopes text[] not null check (cardinality(scopes) between 1 and 7 and scopes <@ array[
    'photos:read', 'photos:write', 'clones:read', 'clones:write', 'images:read', 'images:write',
    'account:read']),
  created_at timestamptz not null default current_timestamp,
  -- A year and what clocks of two machines may differ by.
  expires_at timestamptz not null check (expires_at <= created_at + interval '366 days'),
  last_used_at timestamptz,
  revoked_at timestamptz
);
create index api_keys_user on api_keys (user_id, id);
create index api_keys_expiry on api_keys (expires_at);

alter table api_keys enable row level security;
alter table api_keys force row level security;

create policy own_read on api_keys for select to visiona_app using (user_id = (select visiona.uid()));
-- A revoked key is no row to update: it stays revoked.
create policy own_revoke on api_keys for update to visiona_app
  using (user_id = (select visiona.uid()) and revoked_at is null)
  with check (user_id = (select visiona.uid()));
create policy auth_all on api_keys for all to visiona_auth using (true) with check (true);
create policy system_purge_read on api_keys for select to visiona_worker
  using ((select visiona.is_system()));
create policy system_purge on api_keys for delete to visiona_worker using ((select visiona.is_system()));

grant select (id, user_id, name, prefix, scopes, created_at, expires_at, last_used_at, revoked_at),
  update (revoked_at) on api_keys to visiona_app;
grant select, insert (user_id, name, prefix, secret_hash, scopes, expires_at), update (last_used_at)
  on api_keys to visiona_auth;
grant select (id, user_id, expires_at, revoked_at), delete on api_keys to visiona_worker;

grant create on schema visiona to visiona_auth;
set local role visiona_auth;

-- A key for the signed-in person; null where they have as many that live as anybody may have.
create function visiona.add_api_key(
  key_name text, key_prefix text, hash bytea, key_scopes text[], expires timestamptz) returns bigint
  language plpgsql security definer set search_path = public, pg_temp
as $$
declare
  new_id bigint;
begin
  -- One person's additions take turns, or those of the same moment would not count each other.
  perform from users u where u.id = visiona.uid() for no key update;
  if not found then
    raise insufficient_privilege using message = 'this transaction is for nobody';
  end if;
  if (select count(*) from api_keys k
      where k.user_id = visiona.uid() and k.revoked_at is null and k.expires_at > now()) >= 20 then
    return null;
  end if;
  insert into api_keys (user_id, name, prefix, secret_hash, scopes, expires_at)
    values (visiona.uid(), key_name, key_prefix, hash, key_scopes, expires) returning id into new_id;
  return new_id;
end $$;

-- Whose key this is, by its hash, which cannot be guessed. That it was used is noted once a minute:
-- without waiting for the disk, nor for another request that notes the same.
create function visiona.use_api_key(hash bytea)
  returns table (key_id bigint, user_id bigint, subject text, scopes text[], status text)
  language plpgsql security definer set search_path = public, pg_temp
as $$
declare
  last_use timestamptz;
begin
  select k.id, u.id, u.clerk_id, k.scopes,
      case when u.barred and u.status = 'active' then 'suspended' else u.status end, k.last_used_at
    into key_id, user_id, subject, scopes, status, last_use
    from api_keys k join users u on u.id = k.user_id
    where k.secret_hash = hash and k.revoked_at is null and k.expires_at > now()
      and u.status <> 'deleted';
  if not found then
    return;
  end if;
  if last_use is null or last_use < now() - interval '1 minute' then
    perform set_config('synchronous_commit', 'off', true);
    update api_keys k set last_used_at = now()
      where k.id = (select l.id from api_keys l where l.id = key_id for no key update skip locked);
  end if;
  return next;
end $$;

grant execute on function visiona.add_api_key(text, text, bytea, text[], timestamptz),
  visiona.use_api_key(bytea) to visiona_app;

set local role visiona_owner;
revoke create on schema visiona from visiona_auth;
