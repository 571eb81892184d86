-- What SQL that no service sends could still learn, forge or spoil, found by trying.
--
-- Row-level security hides rows, yet an index is searched before it is asked, with any comparison that
-- PostgreSQL calls leakproof. EXPLAIN ANALYZE and the counters of the running transaction then tell how
-- many rows lie between two values, whosever they are: an index over addresses is enough to read all
-- addresses, letter by letter. So an index that can be searched by a role that sees only own rows leads
-- with the owner, or is over a function that is not leakproof and waits for the policy. Numbers that count
-- up, and times, stay as they are: how many rows there are is nobody's secret.

-- The large ones first, while everything can still be read.
-- Keys of objects begin with their owner: what is unique among one owner's is so among all.
create unique index photos_file on photos (user_id, file_url);
create unique index generations_image on generations (user_id, image_url);
create unique index runs_provider on runs (reverse(provider_id));

-- Addresses: a search that is to find one writes lower(email), too.
create unique index users_address on users (lower(email));
alter table users drop constraint users_email_key;

-- Ids that open something, and those of other services: by owner, and found by what is not leakproof.
create unique index sessions_id on sessions (uuid_send(id));
alter table sessions drop constraint sessions_pkey, add primary key (user_id, id);
-- By its hash a value can be found that is known, and none that is not.
drop index sessions_provider;
create index sessions_provider on sessions using hash (provider_session_id);

create unique index email_links_id on email_links (uuid_send(id));
alter table email_links drop constraint email_links_pkey, add primary key (user_id, id);

create unique index passkeys_credential on passkeys (encode(credential_id, 'hex'));
alter table passkeys drop constraint passkeys_credential_id_key,
  drop constraint passkeys_pkey, add primary key (user_id, id);

create unique index checkouts_session on checkouts (reverse(session_id));
alter table checkouts drop constraint checkouts_session_id_key,
  drop constraint checkouts_pkey, add primary key (user_id, id);
drop index checkouts_user;

create unique index payment_customers_customer on payment_customers (reverse(customer_id));
alter table payment_customers drop constraint payment_customers_customer_id_key;

create unique index subscriptions_id on subscriptions (reverse(id));
alter table subscriptions drop constraint subscriptions_pkey, add primary key (user_id, id);

create unique index invoices_id on invoices (reverse(id));
alter table invoices drop constraint invoices_pkey, add primary key (user_id, id);

drop index payments_invoice;
create index payments_invoice on payments (user_id, invoice_id);

create unique index trainings_provider on trainings (reverse(provider_id));
alter table trainings drop constraint trainings_provider_id_key;
alter table runs drop constraint runs_provider_id_key;

alter table photos drop constraint photos_file_url_key;
alter table generations drop constraint generations_image_url_key;
alter table pending_objects drop constraint pending_objects_pkey, add primary key (user_id, key);
drop index pending_objects_user;

-- The planner guesses how many rows there are from a sample of everybody's values, and says what it
-- guesses: no sample is taken of what people wrote, nor of what names them or their things.
do $$
declare
  entry record;
begin
  for entry in
    select c.oid::regclass as relation, c.relname, c.relkind, a.attname, a.attnum
    from pg_class c join pg_attribute a on a.attrelid = c.oid
    where a.attnum > 0 and not a.attisdropped and (
      c.relnamespace = 'public'::regnamespace and c.relkind = 'r'
        and a.atttypid in ('text'::regtype, 'varchar'::regtype, 'uuid'::regtype, 'bytea'::regtype,
          'jsonb'::regtype, 'text[]'::regtype)
        -- Words of ours, the same for everybody, which plans depend on.
        and a.attname not in ('status', 'state', 'resource', 'plan', 'mode', 'entry', 'topic', 'provider',
          'role', 'purpose', 'kind')
        and c.relname <> 'plans'
      or c.oid in (
        select i.indexrelid from pg_index i join pg_class t on t.oid = i.indrelid
        where i.indexprs is not null and t.relnamespace = 'public'::regnamespace))
  loop
    if entry.relkind = 'i' then
      execute format('alter index %s alter column %s set statistics 0', entry.relation, entry.attnum);
    else
      execute format('alter table %s alter column %I set statistics 0', entry.relation, entry.attname);
      -- Before version 18 nothing can remove the samples of before, which no longer change.
      if current_setting('server_version_num')::integer >= 180000 then
        perform pg_clear_attribute_stats('public', entry.relname, entry.attname, false);
      end if;
    end if;
  end loop;
end $$;

-- An equality is sorted behind what a query asks for itself, so that a comparison of its own comes first, and
-- who is asking is found out only once some row passed it: EXPLAIN shows whether that was ever executed.
-- Membership of a list of one stays in front, and costs less than any comparison that could overtake it.
do $$
declare
  entry record;
begin
  for entry in
    select c.oid::regclass as relation, p.polname, pg_get_expr(p.polqual, p.polrelid) as condition
    from pg_policy p join pg_class c on c.oid = p.polrelid
    where c.relnamespace = 'public'::regnamespace
      and pg_get_expr(p.polqual, p.polrelid) ~ ' = \( SELECT visiona\.uid\(\) AS uid\)'
  loop
    execute format('alter policy %I on %s using (%s)', entry.polname, entry.relation,
      replace(entry.condition, ' = ( SELECT visiona.uid() AS uid)',
        ' = any (array[( SELECT visiona.uid() AS uid)])'));
  end loop;
end $$;

-- A mail with a link goes where the link says, and the link is its person's own: otherwise somebody could
-- have the link sent to themself that opens another's account.
alter table mails add constraint mails_link foreign key (user_id, reference)
  references email_links (user_id, id) on delete set null (reference);
create index mails_link on mails (user_id, reference) where reference is not null;
create policy links_to_their_address on mails as restrictive for insert to visiona_app
  with check (reference is null or exists (
    select from email_links l
    where l.user_id = (select visiona.uid()) and l.id = mails.reference
      and l.address = coalesce(mails.address, (select u.email from users u where u.id = l.user_id))));

-- Privileges that nobody uses.
revoke select on users from visiona_app;
grant select (id, email, status, created_at, email_verified_at, role, barred) on users to visiona_app;
revoke select (clerk_id) on users from authenticated;
revoke select on sessions from visiona_worker;
grant select (id, user_id, created_at, expires_at, revoked_at, provider_session_id, checked_at) on sessions
  to visiona_worker;
revoke select on passkeys from visiona_app;
grant select (id, user_id, credential_id, sign_count, transports, name, synced, created_at, last_used_at)
  on passkeys to visiona_app;
revoke delete on model_photos from visiona_app;
revoke delete on photos, models, generations from visiona_worker;
revoke select on payments from visiona_app, authenticated;
grant select (user_id, invoice_id, refunded, disputed) on payments to visiona_app;
grant select (id, user_id, amount, currency, status, refunded, disputed, created_at) on payments
  to authenticated;
revoke select on idempotency_keys from visiona_worker;
grant select (user_id, created_at) on idempotency_keys to visiona_worker;

grant create on schema visiona to visiona_auth;
set local role visiona_auth;

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
    on conflict (lower(email)) do nothing returning id into new_id;
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
  where lower(u.email) = address and (select visiona.looks_up(address))
$$;

create or replace function visiona.find_passkey(credential bytea)
  returns table (user_id bigint, subject text, public_key bytea, status text)
  language sql stable security definer set search_path = public, pg_temp
as $$
  select u.id, u.clerk_id, p.public_key, u.status
  from passkeys p join users u on u.id = p.user_id
  where encode(p.credential_id, 'hex') = encode(credential, 'hex') and u.status <> 'deleted'
$$;

-- How often somebody had something expensive done: counted for who is asking and for nobody else, as no
-- other key of that counter can be known. Answers the seconds to wait.
create function visiona.count_visit(what text, free integer, ceiling integer) returns integer
  language plpgsql security definer set search_path = public, pg_temp
as $$
begin
  if visiona.uid() is null then
    raise insufficient_privilege using message = 'this transaction is for nobody';
  end if;
  return visiona.count_attempt(
    (select sha256(k.inner_pad || convert_to('visit ' || visiona.uid() || ' ' || what, 'UTF8'))
     from visiona.identity_keys k where k.replaced_at is null order by k.id limit 1),
    free, ceiling);
end $$;
grant execute on function visiona.count_visit(text, integer, integer) to visiona_app;

set local role visiona_owner;
revoke create on schema visiona from visiona_auth;
