-- What an administrator may see and do, and what a person lets them see.
--
-- The process that serves pages has no other rights for administrators than for anybody: all goes through
-- the functions below. They answer nobody but an administrator, with the columns that are named here.
-- People's words and pictures are among them only while the person allows it, and photos never.
--
-- Looking is an act. What is known of one person is answered only after the look was put on record and
-- that was committed: whoever rolls back has seen nothing, or has left a trace.

-- Until when a person lets administrators see their prompts and pictures.
create table support_grants (
  user_id bigint primary key references users on delete cascade,
  expires_at timestamptz not null,
  granted_at timestamptz not null default current_timestamp
);
create index support_grants_expiry on support_grants (expires_at);

alter table support_grants enable row level security;
alter table support_grants force row level security;

create policy own_all on support_grants for all to visiona_app
  using (user_id = (select visiona.uid()))
  with check (user_id = (select visiona.uid()) and expires_at <= now() + interval '72 hours');
create policy auth_read on support_grants for select to visiona_auth using (true);
create policy system_purge_read on support_grants for select to visiona_worker
  using ((select visiona.is_system()));
create policy system_purge on support_grants for delete to visiona_worker using ((select visiona.is_system()));

grant select (user_id, expires_at), insert (user_id, expires_at), update (expires_at), delete
  on support_grants to visiona_app;
grant select (user_id, expires_at) on support_grants to visiona_auth;
grant select (user_id, expires_at), delete on support_grants to visiona_worker;

-- Acts of administrators and looks at people, of which there are few among all entries.
create index audit_logs_admin on audit_logs (id) where starts_with(action, 'admin.');
create index audit_logs_admin_user on audit_logs (user_id, id) where starts_with(action, 'admin.');
-- For the list of those with whom something went wrong of late.
create index runs_failed on runs (finished_at) where state = 'failed';
create index trainings_failed on trainings (finished_at) where state = 'failed';

-- Nobody writes down in their own log that an administrator did something.
create policy no_admin_acts on audit_logs as restrictive for insert to visiona_app
  with check (not starts_with(action, 'admin.'));
alter policy auth_append on audit_logs
  with check (action = 'account.created' or (starts_with(action, 'admin.') and (select visiona.is_admin())));

-- Whoever was suspended a moment ago starts nothing more, though their request was let in before.
create policy not_suspended on trainings as restrictive for insert to visiona_app
  with check (exists (
    select from users u where u.id = (select visiona.uid()) and u.status = 'active' and not u.barred));
create policy not_suspended on runs as restrictive for insert to visiona_app
  with check (exists (
    select from users u where u.id = (select visiona.uid()) and u.status = 'active' and not u.barred));

grant create on schema visiona to visiona_auth, visiona_worker;
set local role visiona_auth;

-- Those who let administrators see their prompts and pictures now; nobody for who is no administrator.
create function visiona.supported() returns setof bigint
  language sql stable security definer set search_path = public, pg_temp
as $$
  select g.user_id from support_grants g where g.expires_at > now() and (select visiona.is_admin())
$$;

grant execute on function visiona.is_admin() to visiona_worker;

set local role visiona_owner;

-- The functions run as visiona_auth. Row-level security holds for them too: were one of them to forget
-- to ask who is asking, it would find nothing.
do $$
declare
  name text;
begin
  foreach name in array array['entitlements', 'quota_usage', 'quota_ledger', 'payment_customers',
      'subscriptions', 'invoices', 'models', 'trainings', 'runs', 'audit_logs'] loop
    execute format('create policy admin_read on %I for select to visiona_auth
      using ((select visiona.is_admin()))', name);
  end loop;
  foreach name in array array['trainings', 'runs'] loop
    execute format('create policy admin_cancel on %I for update to visiona_auth
      using ((select visiona.is_admin())) with check ((select visiona.is_admin()))', name);
  end loop;
end $$;
create policy support_read on generations for select to visiona_auth
  using (user_id in (select visiona.supported()));

grant insert (details), select (id, user_id, action, details, created_at) on audit_logs to visiona_auth;
grant select (user_id, plan) on entitlements to visiona_auth;
grant select (user_id, resource, period_start, period_end, plan, subscription_id, entitled, used, reserved)
  on quota_usage to visiona_auth;
grant select (id, user_id, resource, period_start, entry, reference, plan, amount, created_at)
  on quota_ledger to visiona_auth;
grant select (user_id, customer_id, mode, synced_at) on payment_customers to visiona_auth;
grant select (id, user_id, status, plan, billing_interval, amount, currency, period_end, trial_end,
  cancel_at, ended_at, created_at) on subscriptions to visiona_auth;
grant select (id, user_id, number, status, total, amount_remaining, currency, next_attempt_at, created_at)
  on invoices to visiona_auth;
grant select (id, user_id, status, photo_count, error_code, error_message, created_at, ready_at)
  on models to visiona_auth;
grant select (user_id, model_id, state, cancel_requested_at, finished_at), update (cancel_requested_at)
  on trainings to visiona_auth;
grant select (id, user_id, model_id, state, num_outputs, error_code, enhancement_outcome, prompt,
    enhanced_prompt, cancel_requested_at, created_at, finished_at), update (cancel_requested_at)
  on runs to visiona_auth;
grant select (user_id, run_id, position, image_url, thumbnail_url, width, height)
  on generations to visiona_auth;

set local role visiona_worker;

-- Jobs about a person that were given up: what they were for, never their arguments.
create function visiona.failed_jobs(person bigint)
  returns table (id bigint, task text, attempts integer, failed_at timestamptz)
  language sql stable security definer set search_path = procrastinate, pg_temp
as $$
  select j.id, j.task_name::text, j.attempts,
    (select max(e.at) from procrastinate_events e where e.job_id = j.id)
  from procrastinate_jobs j
  where j.status = 'failed' and (j.args ->> 'user_id') = person::text and (select visiona.is_admin())
  order by j.id desc limit 20
$$;
revoke execute on function visiona.failed_jobs(bigint) from public;
grant execute on function visiona.failed_jobs(bigint) to visiona_auth;
grant execute on function visiona.enqueue(text, jsonb, boolean) to visiona_auth;

set local role visiona_auth;

-- Parts of what follows; nobody else calls them.

create function visiona.write_admin_act(person bigint, act text, more jsonb) returns bigint
  language sql security definer set search_path = public, pg_temp
as $$
  insert into audit_logs (user_id, action, details)
  values (person, act, jsonb_build_object('by', visiona.uid()) || more)
  returning id
$$;

-- Whether the administrator who asks has put a look on record that is not older than this, in a
-- transaction that is over.
create function visiona.has_looked(person bigint, act text, within interval) returns boolean
  language sql stable security definer set search_path = public, pg_temp
as $$
  select (select visiona.is_admin()) and exists (
    select from audit_logs a
    where a.user_id = person and starts_with(a.action, 'admin.') and a.action = act
      and a.details ->> 'by' = visiona.uid()::text
      and a.created_at < now() and a.created_at > now() - within)
$$;

-- What stands in the way of an act on this person: `refused` for who is no administrator, `unknown`,
-- `oneself`, `administrator`; null where nothing does. Locks their row.
create function visiona.admin_obstacle(person bigint, reason text) returns text
  language plpgsql security definer set search_path = public, pg_temp
as $$
declare
  target users;
begin
  if not visiona.is_admin() then
    raise insufficient_privilege using message = 'this transaction is for no administrator';
  end if;
  if reason is null or reason !~ '^[a-z_]{1,40}$' then
    raise check_violation using message = 'an act has a reason';
  end if;
  select * into target from users u where u.id = person for no key update;
  return case
    when target.id is null or target.status = 'deleted' then 'unknown'
    when target.id = visiona.uid() then 'oneself'
    when target.role = 'admin' then 'administrator' end;
end $$;

-- End all of somebody's sessions; those at the identity service, that some of them hang on, end by a job.
-- Answers how many there were.
create function visiona.end_all_sessions(person bigint) returns bigint
  language plpgsql security definer set search_path = public, pg_temp
as $$
declare
  session record;
  ended bigint := 0;
begin
  for session in
    update sessions s set revoked_at = now()
    where s.user_id = person and s.revoked_at is null and s.expires_at > now()
      and (select visiona.is_admin())
    returning s.id, s.provider_session_id
  loop
    ended := ended + 1;
    if session.provider_session_id is not null then
      perform visiona.enqueue(
        'accounts.end_remote', jsonb_build_object('session_id', session.id), false);
    end if;
  end loop;
  return ended;
end $$;

-- Finding

-- People by one of: a list (`newest`, `suspended`, `failing`, `admins`), how an address begins, an id or
-- a subject. The newest first, older than `before`.
create function visiona.find_people(
    list text, address text, wanted bigint, subject text, before bigint, amount integer)
  returns table (id bigint, email text, verified boolean, status text, barred boolean, role text,
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
    select u.id from users u where address <> '' and starts_with(u.email, address)
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
  returns table (id bigint, user_id bigint, email text, action text, details jsonb, created_at timestamptz)
  language sql stable security definer set search_path = public, pg_temp
as $$
  select a.id, a.user_id, u.email, a.action, a.details, a.created_at
  from audit_logs a left join users u on u.id = a.user_id
  where (select visiona.is_admin()) and starts_with(a.action, 'admin.') and (before is null or a.id < before)
  order by a.id desc limit least(amount, 101)
$$;

-- Looking

-- Put a look on record: at what is known of somebody once an hour, at their words and pictures each time.
-- False where there is nobody of this id, or nothing to be seen.
create function visiona.look_at(person bigint, content boolean) returns boolean
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

-- What is known of somebody, without their words and pictures. Null unless the look is on record.
create function visiona.person_record(person bigint) returns jsonb
  language sql stable security definer set search_path = public, pg_temp
as $$
  select jsonb_build_object(
    'id', u.id, 'subject', u.clerk_id, 'email', u.email, 'verified_at', u.email_verified_at,
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
        select id, name, scopes, created_at, expires_at, last_used_at, revoked_at
        from api_keys where user_id = u.id order by id desc limit 40) k),
    'jobs', (
      select coalesce(jsonb_agg(to_jsonb(j) order by j.id desc), '[]') from visiona.failed_jobs(u.id) j))
  from users u
  where u.id = person and (select visiona.has_looked(person, 'admin.viewed', '1 hour 1 minute'))
$$;

-- Their audit entries; the newest first, older than `before`. None unless the look is on record.
create function visiona.person_history(person bigint, before bigint, amount integer)
  returns table (id bigint, action text, details jsonb, created_at timestamptz)
  language sql stable security definer set search_path = public, pg_temp
as $$
  select a.id, a.action, a.details, a.created_at
  from audit_logs a
  where a.user_id = person and (before is null or a.id < before)
    and (select visiona.has_looked(person, 'admin.viewed', '1 hour 1 minute'))
  order by a.id desc limit least(amount, 101)
$$;

-- Prompts, and the keys of the pictures that came of them, while the person allows it. None unless the
-- look is on record.
create function visiona.person_content(person bigint, before bigint, amount integer)
  returns table (id bigint, state text, error_code text, prompt text, enhanced_prompt text,
    created_at timestamptz, images jsonb)
  language sql stable security definer set search_path = public, pg_temp
as $$
  select r.id, r.state, r.error_code, r.prompt, r.enhanced_prompt, r.created_at, (
    select coalesce(jsonb_agg(jsonb_build_object('image_key', g.image_url, 'thumbnail_key', g.thumbnail_url,
      'width', g.width, 'height', g.height) order by g.position), '[]')
    from generations g where g.user_id = person and g.run_id = r.id)
  from runs r
  where r.user_id = person and person in (select visiona.supported()) and (before is null or r.id < before)
    and (select visiona.has_looked(person, 'admin.content_viewed', '1 minute'))
  order by r.id desc limit least(amount, 101)
$$;

-- Acts. Each answers what stood in its way, `unchanged`, or `done`.

-- Their sessions end, their open work is given up, and nothing is begun until it is taken back.
create function visiona.suspend(person bigint, reason text) returns text
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
  perform visiona.write_admin_act(person, 'admin.suspended', jsonb_build_object('reason', reason));
  return 'done';
end $$;

create function visiona.unsuspend(person bigint, reason text) returns text
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
  perform visiona.write_admin_act(person, 'admin.unsuspended', jsonb_build_object('reason', reason));
  return 'done';
end $$;

-- Everybody may do this to themself on their own pages, and administrators to each other: what it costs
-- is another log-in.
create function visiona.end_sessions(person bigint, reason text) returns text
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
  perform visiona.write_admin_act(person, 'admin.sessions_ended',
    jsonb_build_object('reason', reason, 'sessions', ended));
  return 'done';
end $$;

-- Order a plan for somebody, as a gift; the worker puts them on it. Answers the number of the order, by
-- which of several the last is known; null where there is nobody of this id.
create function visiona.order_plan(person bigint, plan text, reason text) returns bigint
  language plpgsql security definer set search_path = public, pg_temp
as $$
begin
  if visiona.admin_obstacle(person, reason) = 'unknown' then
    return null;
  end if;
  return visiona.write_admin_act(person, 'admin.plan_set',
    jsonb_build_object('plan', plan, 'reason', reason));
end $$;

grant execute on function visiona.find_people(text, text, bigint, text, bigint, integer),
  visiona.admin_acts(bigint, integer), visiona.look_at(bigint, boolean), visiona.person_record(bigint),
  visiona.person_history(bigint, bigint, integer), visiona.person_content(bigint, bigint, integer),
  visiona.suspend(bigint, text), visiona.unsuspend(bigint, text), visiona.end_sessions(bigint, text),
  visiona.order_plan(bigint, text, text)
  to visiona_app;

set local role visiona_owner;
revoke create on schema visiona from visiona_auth, visiona_worker;
