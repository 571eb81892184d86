-- What says who somebody is, sealed with their own key.
--
-- Addresses, the names that people give to their passkeys and API keys, and the browsers that they come with
-- are kept as the process that serves them has sealed them (AES-256-GCM, bound to person, table and column).
-- Their keys are in no database, and in no copy of one. Somebody is found by the blind index of their address:
-- an HMAC under a key that is not here either.
--
-- What was kept before stays readable until the next step of `visiona migrate` has sealed it: the constraints
-- hold for what is written from here on, and are validated when nothing else is left.

-- People are numbered before there is a row, so that their key is there first.
grant select, usage on sequence users_id_seq to visiona_auth;

-- Addresses

drop policy links_to_their_address on mails;
drop index users_address;
alter table users drop constraint users_email_check;
alter table users
  alter column email drop not null,
  add column email_index bytea check (length(email_index) = 32);
alter table users
  -- Without the stand-ins for addresses that people have no more.
  alter column email type bytea
    using case when email not in (id || '@replaced.invalid', id || '@departed.invalid')
      then convert_to(email, 'UTF8') end,
  add constraint users_email_check check (length(email) <= 1100),
  add constraint users_email_sealed check (substring(email from 1 for 1) = '\xf8') not valid,
  -- Nobody has an address that cannot be found, nor can be found by one that they have not.
  add constraint users_email_index_filled check ((email is null) = (email_index is null)) not valid;
alter table users alter column email_index set statistics 0, alter column email set statistics 0;
-- Over a function that is not leakproof, so that a search of it waits for the policy: otherwise whoever
-- knows the index of an address could ask whether anybody has it.
create unique index users_address on users (encode(email_index, 'hex'));
alter index users_address alter column 1 set statistics 0;

alter table email_links drop constraint email_links_address_check;
alter table email_links
  alter column address type bytea using convert_to(address, 'UTF8'),
  add constraint email_links_address_check check (length(address) <= 1100),
  add constraint email_links_address_sealed check (substring(address from 1 for 1) = '\xf8') not valid;

-- A mail with a link goes where the link says, and nowhere else.
alter table mails drop constraint mails_address_check;
alter table mails
  alter column address type bytea using case when reference is null then convert_to(address, 'UTF8') end,
  add constraint mails_address_check check (length(address) <= 1100),
  add constraint mails_address_sealed check (substring(address from 1 for 1) = '\xf8') not valid,
  add constraint mails_link_says_where check (reference is null or address is null);

-- What people call their things, and what they come with

alter table sessions drop constraint sessions_client_check;
alter table sessions alter column client drop default, alter column client drop not null;
alter table sessions
  alter column client type bytea using nullif(convert_to(client, 'UTF8'), ''),
  add constraint sessions_client_check check (length(client) <= 900),
  add constraint sessions_client_sealed check (substring(client from 1 for 1) = '\xf8') not valid;

alter table api_keys drop constraint api_keys_name_check;
alter table api_keys
  alter column name type bytea using convert_to(name, 'UTF8'),
  add constraint api_keys_name_check check (length(name) <= 300),
  add constraint api_keys_name_sealed check (substring(name from 1 for 1) = '\xf8') not valid;

alter table passkeys drop constraint passkeys_name_check;
alter table passkeys
  alter column name type bytea using convert_to(name, 'UTF8'),
  add constraint passkeys_name_check check (length(name) <= 300),
  add constraint passkeys_name_sealed check (substring(name from 1 for 1) = '\xf8') not valid;

-- Secrets of one-time codes were encrypted under a key of the server. They are marked, and sealed as they are:
-- whoever opens one finds the mark, and what is behind it.
alter table totp_secrets drop constraint totp_secrets_secret_check;
alter table totp_secrets
  alter column secret type bytea using '\x01'::bytea || secret,
  add constraint totp_secrets_secret_check check (length(secret) between 30 and 300),
  add constraint totp_secrets_secret_sealed check (substring(secret from 1 for 1) = '\xf8') not valid;

-- Rights. Nobody compares indexes but the functions below; what PostgREST would serve of an address is of no
-- use to whoever has not the key.
grant update (email_index) on users to visiona_worker;
revoke select (email) on users from authenticated;

grant create on schema visiona to visiona_auth;
set local role visiona_auth;

-- The number of somebody who is to be, for whom a key can be made.
create function visiona.next_user_id() returns bigint
  language sql security definer set search_path = public, pg_temp
as $$ select nextval('users_id_seq') $$;

-- Whether this number was given out. One that was not would be in the way of whoever gets it later.
create function visiona.is_given(user_id bigint) returns boolean
  language sql security definer set search_path = public, pg_temp
as $$ select user_id between 1 and s.last_value and s.is_called from users_id_seq s $$;

-- Whether the account is theirs now; false where somebody has the address.
drop function visiona.sign_up(text, text, text);
create function visiona.sign_up(
  new_id bigint, subject text, address bytea, address_index bytea, hash text) returns boolean
  language plpgsql security definer set search_path = public, pg_temp
as $$
begin
  if not visiona.looks_up(encode(address_index, 'hex')) then
    raise insufficient_privilege using message = 'this transaction is for nobody who signs up';
  end if;
  if not visiona.is_given(new_id) then
    raise check_violation using message = 'nobody was given this number';
  end if;
  insert into users (id, clerk_id, email, email_index) overriding system value
    values (new_id, subject, address, address_index)
    on conflict (encode(email_index, 'hex')) do nothing;
  if not found then
    return false;
  end if;
  insert into credentials (user_id, password_hash) values (new_id, hash);
  insert into audit_logs (user_id, action) values (new_id, 'account.created');
  return true;
end $$;

drop function visiona.find_credentials(text);
create function visiona.find_credentials(address_index bytea)
  returns table (user_id bigint, subject text, password_hash text, status text)
  language sql stable security definer set search_path = public, pg_temp
as $$
  select u.id, u.clerk_id, c.password_hash, u.status
  from users u join credentials c on c.user_id = u.id
  where encode(u.email_index, 'hex') = encode(address_index, 'hex')
    and (select visiona.looks_up(encode(address_index, 'hex')))
$$;

-- Addresses are sealed for their person: of a link's, and of the account's.
drop function visiona.find_email_link(uuid);
create function visiona.find_email_link(wanted uuid)
  returns table (user_id bigint, subject text, purpose text, address bytea, current_address bytea,
    status text)
  language sql stable security definer set search_path = public, pg_temp
as $$
  select u.id, u.clerk_id, l.purpose, l.address, u.email,
    case when u.barred and u.status = 'active' then 'suspended' else u.status end
  from email_links l join users u on u.id = l.user_id
  where uuid_send(l.id) = uuid_send(wanted) and l.used_at is null and l.expires_at > now()
$$;

-- False where the address is somebody else's. Only in a transaction for that address: otherwise it
-- would tell of any address whether it is taken.
drop function visiona.set_address(text);
create function visiona.set_address(address bytea, address_index bytea) returns boolean
  language plpgsql security definer set search_path = public, pg_temp
as $$
begin
  if not visiona.looks_up(encode(address_index, 'hex')) then
    raise insufficient_privilege using message = 'this transaction is for no such address';
  end if;
  update users u set email = address, email_index = set_address.address_index, email_verified_at = now()
    where u.id = visiona.uid();
  return found;
exception when unique_violation then
  return false;
end $$;

-- What the identity service says of somebody, written down unless something newer is; who is not known yet
-- gets the row of the number that `address` is sealed for. Answers the number of whoever they are: where it
-- is another one, nothing was written. Null for who was deleted there, for who has no address, and where
-- somebody with a password of ours has it. An address that another of the service's people has here is out
-- of date: the service gives it to one only. Who is known stays so without an address, or with one that
-- cannot be theirs.
drop function visiona.adopt(text, text, boolean, boolean, bigint);
create function visiona.adopt(
  wanted text, sealed_for bigint, address bytea, address_index bytea, verified boolean, is_barred boolean,
  new_revision bigint) returns bigint
  language plpgsql security definer set search_path = public, pg_temp
as $$
declare
  address_key text := encode(address_index, 'hex');
  found_id bigint;
  theirs boolean;
begin
  if not visiona.looks_up(wanted) then
    raise insufficient_privilege using message = 'this transaction is for nobody who is vouched for';
  end if;
  select u.id into found_id from users u
    where u.clerk_id = wanted and u.revision = new_revision and encode(u.email_index, 'hex') = address_key
      and u.barred = is_barred and (u.email_verified_at is not null) = verified;
  if found then
    return found_id;
  end if;
  -- One at a time: people swap addresses, and who departs must not come back meanwhile.
  perform pg_advisory_xact_lock(visiona.identity_lock());
  if exists (select from departed_subjects d where d.subject_hash = sha256(convert_to(wanted, 'UTF8'))) then
    return null;
  end if;
  select u.id into found_id from users u where u.clerk_id = wanted;
  if found_id <> sealed_for or exists (select from users u
      where u.id = found_id and (u.revision > new_revision or u.status = 'deleted')) then
    return found_id;
  end if;
  update users u set email = null, email_index = null, email_verified_at = null, revision = 0
    where encode(u.email_index, 'hex') = address_key and u.clerk_id <> wanted
      and not exists (select from credentials c where c.user_id = u.id);
  if found_id is null then
    if not visiona.is_given(sealed_for) then
      raise check_violation using message = 'nobody was given this number';
    end if;
    insert into users (id, clerk_id, email, email_index, email_verified_at, barred, revision)
      overriding system value
      select sealed_for, wanted, address, address_index, case when verified then now() end, is_barred,
        new_revision
      where address_index is not null
      on conflict do nothing returning id into found_id;
    if found_id is not null then
      insert into audit_logs (user_id, action) values (found_id, 'account.created');
    end if;
    return found_id;
  end if;
  theirs := address_index is not null and not exists (
    select from users u where encode(u.email_index, 'hex') = address_key and u.id <> found_id);
  update users u set
      email = case when theirs then address end,
      email_index = case when theirs then adopt.address_index end,
      barred = is_barred, revision = new_revision,
      email_verified_at = case
        when not theirs or not verified then null
        when encode(u.email_index, 'hex') = address_key then coalesce(u.email_verified_at, now())
        else now() end
    where u.id = found_id;
  return found_id;
end $$;

-- Answers when the person has proved who they are: now. The password stays what it is until the session is
-- there to be ended with it: what is read of it after this, in the same transaction, is what the session
-- stands on.
drop function visiona.open_session(uuid, bytea, text, timestamptz, text);
create function visiona.open_session(
  session_id uuid, hash bytea, agent bytea, expires timestamptz, provider_session text)
  returns timestamptz
  language plpgsql security definer set search_path = public, pg_temp
as $$
begin
  if visiona.uid() is null then
    raise insufficient_privilege using message = 'this transaction is for nobody';
  end if;
  perform from credentials c where c.user_id = visiona.uid() for share;
  insert into sessions (id, user_id, secret_hash, client, expires_at, provider_session_id)
    values (session_id, visiona.uid(), hash, agent, expires, provider_session);
  return current_timestamp;
end $$;

-- A key for the signed-in person; null where they have as many that live as anybody may have.
drop function visiona.add_api_key(text, text, bytea, text[], timestamptz);
create function visiona.add_api_key(
  key_name bytea, key_prefix text, hash bytea, key_scopes text[], expires timestamptz) returns bigint
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

-- Administration: addresses and names go out sealed, and are opened by the process that asks.

drop function visiona.find_people(text, text, bigint, text, bigint, integer);
drop function visiona.admin_acts(bigint, integer);

-- People by one of: a list (`newest`, `suspended`, `failing`, `admins`), the index of an address, an id or
-- a subject. The newest first, older than `before`.
create function visiona.find_people(
    list text, address_index bytea, wanted bigint, subject text, before bigint, amount integer)
  returns table (id bigint, email bytea, verified boolean, status text, barred boolean, role text,
    created_at timestamptz)
  language sql stable security definer set search_path = public, pg_temp
as $$
  with chosen (id) as (
    (select u.id from users u where list = 'newest' and (before is null or u.id < before)
      order by u.id desc limit amount)
    union all
    select u.id from users u where list = 'suspended' and (u.status = 'suspended' or u.barred)
    union all
    select u.id from users u where list = 'admins' and u.role = 'admin'
    union all
    (select r.user_id from runs r
      where list = 'failing' and r.state = 'failed' and r.finished_at > now() - interval '7 days'
     union
     select t.user_id from trainings t
      where list = 'failing' and t.state = 'failed' and t.finished_at > now() - interval '7 days')
    union all
    select u.id from users u where encode(u.email_index, 'hex') = encode(address_index, 'hex')
    union all
    select u.id from users u where u.id = wanted
    union all
    select u.id from users u where u.clerk_id = subject)
  select u.id, u.email, u.email_verified_at is not null, u.status, u.barred, u.role, u.created_at
  from users u
  where (select visiona.is_admin()) and u.id in (select c.id from chosen c)
    and (before is null or u.id < before)
  order by u.id desc limit least(amount, 101)
$$;

-- What administrators did, and whom they looked at; the newest first, older than `before`.
create function visiona.admin_acts(before bigint, amount integer)
  returns table (id bigint, user_id bigint, email bytea, action text, details jsonb, created_at timestamptz)
  language sql stable security definer set search_path = public, pg_temp
as $$
  select a.id, a.user_id, u.email, a.action, a.details, a.created_at
  from audit_logs a left join users u on u.id = a.user_id
  where (select visiona.is_admin()) and starts_with(a.action, 'admin.') and (before is null or a.id < before)
  order by a.id desc limit least(amount, 101)
$$;

-- What is known of somebody, without their words and pictures; what is sealed, in hexadecimal digits. Null
-- unless the look is on record.
create or replace function visiona.person_record(person bigint) returns jsonb
  language sql stable security definer set search_path = public, pg_temp
as $$
  select jsonb_build_object(
    'id', u.id, 'subject', u.clerk_id, 'email', encode(u.email, 'hex'), 'verified_at', u.email_verified_at,
    'status', u.status, 'barred', u.barred, 'role', u.role, 'created_at', u.created_at,
    'supported_until',
      (select g.expires_at from support_grants g where g.user_id = u.id and g.expires_at > now()),
    'given_plan', (select e.plan from entitlements e where e.user_id = u.id),
    'quotas', (
      select coalesce(jsonb_agg(to_jsonb(q)), '[]') from (
        select resource, period_start, period_end, plan, subscription_id, entitled, used, reserved
        from quota_usage where user_id = u.id and period_start <= now() and period_end > now()) q),
    'ledger', (
      select coalesce(jsonb_agg(to_jsonb(l) order by l.id desc), '[]') from (
        select id, resource, period_start, entry, reference, plan, amount, created_at
        from quota_ledger where user_id = u.id order by id desc limit 100) l),
    'customer', (
      select to_jsonb(c) from (
        select customer_id, mode, synced_at from payment_customers where user_id = u.id) c),
    'subscriptions', (
      select coalesce(jsonb_agg(to_jsonb(s) order by s.created_at desc), '[]') from (
        select id, status, plan, billing_interval, amount::text, currency, period_end, trial_end,
          cancel_at, ended_at, created_at
        from subscriptions where user_id = u.id order by created_at desc limit 5) s),
    'invoices', (
      select coalesce(jsonb_agg(to_jsonb(i) order by i.created_at desc), '[]') from (
        select id, number, status, total::text, amount_remaining::text, currency, next_attempt_at, created_at
        from invoices where user_id = u.id order by created_at desc limit 12) i),
    'clones', (
      select coalesce(jsonb_agg(to_jsonb(m) order by m.id desc), '[]') from (
        select m.id, m.status, t.state, m.photo_count, m.error_code, m.error_message, m.created_at,
          coalesce(m.ready_at, t.finished_at) as ended_at
        from models m left join trainings t on t.user_id = m.user_id and t.model_id = m.id
        where m.user_id = u.id order by m.id desc limit 20) m),
    'runs', (
      select coalesce(jsonb_agg(to_jsonb(r) order by r.id desc), '[]') from (
        select id, model_id, state, num_outputs, error_code, enhancement_outcome, created_at, finished_at
        from runs where user_id = u.id order by id desc limit 20) r),
    'sessions', (
      select jsonb_build_object(
        'open', count(*) filter (where s.revoked_at is null and s.expires_at > now()),
        'last_seen_at', max(s.last_seen_at))
      from sessions s where s.user_id = u.id),
    'keys', (
      select coalesce(jsonb_agg(to_jsonb(k) order by k.id desc), '[]') from (
        select id, encode(name, 'hex') as name, scopes, created_at, expires_at, last_used_at, revoked_at
        from api_keys where user_id = u.id order by id desc limit 40) k),
    'jobs', (
      select coalesce(jsonb_agg(to_jsonb(j) order by j.id desc), '[]') from visiona.failed_jobs(u.id) j))
  from users u
  where u.id = person and (select visiona.has_looked(person, 'admin.viewed', '1 hour 1 minute'))
$$;

grant execute on function visiona.next_user_id(), visiona.sign_up(bigint, text, bytea, bytea, text),
  visiona.find_credentials(bytea), visiona.find_email_link(uuid), visiona.set_address(bytea, bytea),
  visiona.adopt(text, bigint, bytea, bytea, boolean, boolean, bigint),
  visiona.open_session(uuid, bytea, bytea, timestamptz, text),
  visiona.add_api_key(bytea, text, bytea, text[], timestamptz),
  visiona.find_people(text, bytea, bigint, text, bigint, integer), visiona.admin_acts(bigint, integer)
  to visiona_app;
grant execute on function visiona.next_user_id(), visiona.find_subject(text, text),
  visiona.adopt(text, bigint, bytea, bytea, boolean, boolean, bigint)
  to visiona_worker;

set local role visiona_owner;
revoke create on schema visiona from visiona_auth;
