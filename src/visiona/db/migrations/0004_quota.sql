-- Plans and the use of them. The plan file is the source; `visiona migrate` copies it here, so that
-- policies can hold the limits even when the application forgets them.

create table plans (
  name text primary key,
  images integer not null check (images >= 0),
  clones integer not null check (clones >= 0)
);

-- A user without a row here has the plan `free`.
create table entitlements (
  user_id bigint primary key references users on delete cascade,
  plan text not null references plans,
  changed_at timestamptz not null default current_timestamp
);

create table quota_usage (
  user_id bigint not null references users on delete cascade,
  resource text not null check (resource in ('images', 'clones')),
  period_start timestamptz not null,
  period_end timestamptz not null check (period_end > period_start),
  used integer not null default 0 check (used >= 0),
  reserved integer not null default 0 check (reserved >= 0),
  primary key (user_id, resource, period_start)
);

create table payments (
  id bigint generated always as identity primary key,
  user_id bigint not null references users on delete cascade,
  stripe_charge_id text not null unique check (length(stripe_charge_id) <= 255),
  amount numeric(10, 2) not null,
  currency text not null check (length(currency) <= 10),
  status text not null check (length(status) <= 50),
  created_at timestamptz not null default current_timestamp
);
create index payments_user on payments (user_id, id);

-- The same key with the same body answers the same result and spends once.
create table idempotency_keys (
  user_id bigint not null references users on delete cascade,
  key text not null check (length(key) between 1 and 255),
  operation text not null,
  request_hash bytea not null,
  result_id bigint,
  created_at timestamptz not null default current_timestamp,
  primary key (user_id, key)
);

alter table plans enable row level security;
alter table plans force row level security;
alter table entitlements enable row level security;
alter table entitlements force row level security;
alter table quota_usage enable row level security;
alter table quota_usage force row level security;
alter table payments enable row level security;
alter table payments force row level security;
alter table idempotency_keys enable row level security;
alter table idempotency_keys force row level security;

-- What the signed-in person's plan allows of a resource, per period.
create function visiona.plan_limit(resource text) returns integer
  language sql stable
begin atomic
  select case resource when 'images' then p.images else p.clones end
  from plans p
  where p.name = coalesce(
    (select e.plan from entitlements e where e.user_id = visiona.uid()), 'free');
end;
grant execute on function visiona.plan_limit(text) to visiona_app, visiona_worker;

create policy everyone_reads on plans for select to visiona_app, visiona_worker using (true);
create policy owner_writes on plans for all to visiona_owner using (true) with check (true);

create policy own_read on entitlements for select to visiona_app, visiona_worker
  using (user_id = (select visiona.uid()));
create policy system_all on entitlements for all to visiona_worker
  using ((select visiona.is_system())) with check ((select visiona.is_system()));

create policy own_all on quota_usage for all to visiona_app, visiona_worker
  using (user_id = (select visiona.uid())) with check (user_id = (select visiona.uid()));
create policy system_read on quota_usage for select to visiona_worker
  using ((select visiona.is_system()));
-- The tier's limit, held by the database: the application role cannot take more than the plan, nor
-- open a period of its own making. Periods are calendar months in UTC, as in `billing.model`; a day
-- of grace is for clocks that disagree.
create policy tier_limit_insert on quota_usage as restrictive for insert to visiona_app
  with check (
    reserved <= (select visiona.plan_limit(resource))
    and period_start in (
      date_trunc('month', now() - interval '1 day', 'UTC'),
      date_trunc('month', now() + interval '1 day', 'UTC')));
create policy tier_limit_update on quota_usage as restrictive for update to visiona_app
  using (true) with check (used + reserved <= (select visiona.plan_limit(resource)));

create policy own_read on payments for select to visiona_app, visiona_worker
  using (user_id = (select visiona.uid()));
create policy system_all on payments for all to visiona_worker
  using ((select visiona.is_system())) with check ((select visiona.is_system()));

create policy own_all on idempotency_keys for all to visiona_app
  using (user_id = (select visiona.uid())) with check (user_id = (select visiona.uid()));
create policy system_read on idempotency_keys for select to visiona_worker
  using ((select visiona.is_system()));
create policy system_purge on idempotency_keys for delete to visiona_worker
  using ((select visiona.is_system()));

grant select on plans to visiona_app, visiona_worker;
grant select on entitlements to visiona_app;
grant select, insert, update, delete on entitlements to visiona_worker;
grant select, insert (user_id, resource, period_start, period_end, reserved), update (reserved)
  on quota_usage to visiona_app;
grant select, update (used, reserved) on quota_usage to visiona_worker;
grant select on payments to visiona_app;
grant select, insert, update on payments to visiona_worker;
grant select, insert (user_id, key, operation, request_hash), update (result_id)
  on idempotency_keys to visiona_app;
grant select, delete on idempotency_keys to visiona_worker;
