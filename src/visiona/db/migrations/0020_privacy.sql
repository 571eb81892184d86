-- Erasure: what was asked for, and how far it has come.
--
-- An erasure outlives whoever it is about: the reference to them and the ids of what other firms keep of them are
-- there only until each of these has confirmed. Its id is the receipt's code, which nobody can guess.

create table erasures (
  number bigint generated always as identity primary key,
  id uuid not null,
  user_id bigint,
  cause text not null check (cause in ('person', 'admin', 'identity', 'operator', 'restore')),
  state text not null default 'waiting' check (state in ('waiting', 'erasing', 'done', 'withdrawn')),
  asked_at timestamptz not null default now(),
  due_at timestamptz not null,
  started_at timestamptz,
  finished_at timestamptz,
  -- Each step that is confirmed: when, and how much there was.
  steps jsonb not null default '{}',
  -- What other firms know the person and their things by.
  remote jsonb,
  attempts integer not null default 0,
  next_attempt_at timestamptz not null default now(),
  trouble text check (length(trouble) <= 200),
  receipt bytea,
  check ((state = 'done') = (finished_at is not null)),
  check (state <> 'done' or (user_id is null and remote is null and receipt is not null)),
  check (state not in ('waiting', 'erasing') or user_id is not null),
  -- Unique, and found by its hash alone: whoever asks for it knows it.
  exclude using hash (id with =)
);
create unique index erasures_open on erasures (user_id) where state in ('waiting', 'erasing');
create index erasures_user on erasures (user_id);

alter table erasures enable row level security;
alter table erasures force row level security;

create policy own_read on erasures for select to visiona_app
  using (user_id = any (array[(select visiona.uid())]));
create policy own_ask on erasures for insert to visiona_app
  with check (user_id = any (array[(select visiona.uid())]) and state = 'waiting' and cause = 'person');
create policy own_withdraw on erasures for update to visiona_app
  using (user_id = any (array[(select visiona.uid())]) and state = 'waiting')
  with check (user_id = any (array[(select visiona.uid())]) and state = 'withdrawn');
create policy system_all on erasures for all to visiona_worker
  using ((select visiona.is_system())) with check ((select visiona.is_system()));
create policy auth_all on erasures for all to visiona_auth using (true) with check (true);
grant select (id, user_id, cause, state, asked_at, due_at, started_at, steps), insert (id, user_id, cause, due_at),
  update (state) on erasures to visiona_app;
grant select, insert (id, user_id, cause, due_at, started_at, state),
  update (user_id, state, started_at, finished_at, steps, remote, attempts, next_attempt_at, trouble, receipt)
  on erasures to visiona_worker;
grant select, insert (id, user_id, cause, due_at) on erasures to visiona_auth;

-- The function below runs as visiona_auth, which deletes the rows of somebody who is being erased, and learns no
-- more of them than whose they are.
do $$
declare
  leaving constant text := '(select visiona.is_system()) and user_id in (
    select e.user_id from erasures e where e.state = ''erasing'')';
  name text;
  command text;
  known record;
begin
  foreach name in array array['api_keys', 'checkouts', 'consents', 'cost_people', 'credentials', 'email_links',
    'entitlements', 'generations', 'idempotency_keys', 'invoices', 'mails', 'model_photos', 'models',
    'passkey_challenges', 'passkeys', 'payment_customers', 'payments', 'pending_objects', 'photos',
    'prompt_refusals', 'provider_costs', 'quota_ledger', 'quota_usage', 'recovery_codes', 'reports', 'runs',
    'sessions', 'subscriptions', 'support_grants', 'totp_secrets', 'trainings'] loop
    foreach command in array array['SELECT', 'DELETE'] loop
      -- One policy for each command: where there is one already, the rows come to those that it shows.
      select p.policyname, p.qual into known from pg_policies p
        where p.schemaname = 'public' and p.tablename = name and 'visiona_auth' = any (p.roles)
          and p.permissive = 'PERMISSIVE' and p.cmd in ('ALL', command);
      if not found then
        execute format('create policy %I on %I for %s to visiona_auth using (%s)',
          'privacy_' || lower(command), name, command, leaving);
      elsif known.qual <> 'true' and position('erasures' in known.qual) = 0 then
        execute format('alter policy %I on %I using (%s or (%s))', known.policyname, name, known.qual, leaving);
      end if;
    end loop;
    execute format('grant select (user_id), delete on %I to visiona_auth', name);
  end loop;
end $$;
create index if not exists passkey_challenges_user on passkey_challenges (user_id);
create index if not exists mails_user on mails (user_id);
create index if not exists reports_user on reports (user_id);

grant create on schema visiona to visiona_auth;
set local role visiona_auth;

-- Deletes the rows of somebody whose erasure has begun, table by table, and answers how many there were.
create function visiona.erase_rows(person bigint, names text[]) returns jsonb
  language plpgsql security definer set search_path = public, pg_temp
as $$
declare
  name text;
  amount bigint;
  counts jsonb := '{}';
begin
  if not visiona.is_system() or not exists (
    select from erasures e where e.user_id = person and e.state = 'erasing') then
    raise insufficient_privilege using message = 'nobody has asked for this erasure';
  end if;
  foreach name in array names loop
    execute format('delete from %I where %I = $1', name, case name when 'users' then 'id' else 'user_id' end)
      using person;
    get diagnostics amount = row_count;
    counts := counts || jsonb_build_object(name, amount);
  end loop;
  return counts;
end $$;

-- What is left to show of an erasure to whoever has its code.
create function visiona.find_receipt(code uuid)
  returns table (state text, due_at timestamptz, receipt bytea)
  language sql stable security definer set search_path = public, pg_temp
as $$
  select e.state, e.due_at, e.receipt from erasures e where uuid_send(e.id) = uuid_send(code)
$$;

-- An administrator has somebody erased; the reason is sealed for them. False where that is asked for already, or
-- they are administrators themselves.
create function visiona.order_erasure(person bigint, wanted uuid, due timestamptz, reason bytea) returns boolean
  language plpgsql security definer set search_path = public, pg_temp
as $$
begin
  if not visiona.is_admin() then
    raise insufficient_privilege using message = 'this transaction is for no administrator';
  end if;
  if not exists (select from users u where u.id = person and u.role is distinct from 'admin') then
    return false;
  end if;
  insert into erasures (id, user_id, cause, due_at) values (wanted, person, 'admin', due) on conflict do nothing;
  if not found then
    return false;
  end if;
  perform visiona.write_admin_act(person, 'admin.erasure_ordered', '{}', reason);
  return true;
end $$;

revoke execute on function visiona.erase_rows(bigint, text[]),
  visiona.find_receipt(uuid), visiona.order_erasure(bigint, uuid, timestamptz, bytea) from public;
grant execute on function visiona.erase_rows(bigint, text[])
  to visiona_worker;
grant execute on function visiona.find_receipt(uuid) to visiona_app, visiona_worker;
grant execute on function visiona.order_erasure(bigint, uuid, timestamptz, bytea) to visiona_app;

set local role visiona_owner;
revoke create on schema visiona from visiona_auth;

-- Who may ask for the jobs of this room; what was decided for others stays.
do $$
declare
  before text := pg_get_functiondef('visiona.may_enqueue(text, jsonb)'::regprocedure);
  after text := replace(before, '''payments.sync'',', '''payments.sync'', ''privacy.proceed'',');
begin
  if after = before then
    raise exception 'who may ask for jobs is written otherwise than it was';
  end if;
  execute replace(after, E'    else\n      return false;\n',
    E'    when \'privacy.erase\' then  -- an administrator\'s order\n      return visiona.is_admin();\n    else\n      return false;\n');
end $$;
