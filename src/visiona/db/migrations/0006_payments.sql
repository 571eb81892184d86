-- Subscriptions, and a ledger under every quota.
--
-- What Stripe says of a customer is mirrored here whenever it may have changed; from the mirror follow
-- the periods that a person may use, as rows of `quota_usage`. Those are changed by conditional
-- statements as before, and a trigger writes each change down: the ledger of a period sums up to its
-- balance because nothing else can write it.

-- The plan of everybody who has not paid; with billing off, of everybody.
alter table plans add column is_base boolean not null default false;
create unique index plans_base on plans (is_base) where is_base;

-- Quota and its ledger

-- `entitled` is what the plan, and what was paid for it, allows in the period; it may fall below what
-- was used already, `granted` never does. `entry` and `reference` say what the last change was for.
alter table quota_usage
  add column plan text references plans,
  add column subscription_id text check (length(subscription_id) <= 255),
  add column entitled integer not null default 0 check (entitled >= 0),
  add column entry text not null default 'calendar'
    check (entry in ('opening', 'calendar', 'plan', 'grant', 'take_back', 'end', 'reserve', 'settle')),
  add column reference text not null default '' check (length(reference) <= 255),
  add column granted integer not null generated always as (greatest(entitled, used + reserved)) stored,
  add column balance integer not null generated always as (greatest(entitled - used - reserved, 0)) stored;

create table quota_ledger (
  id bigint generated always as identity primary key,
  user_id bigint not null references users on delete cascade,
  resource text not null,
  period_start timestamptz not null,
  entry text not null,
  reference text not null,
  plan text,
  entitled integer not null,
  reserved integer not null,
  used integer not null,
  -- What is left of the period grew or shrank by this much.
  amount integer not null,
  created_at timestamptz not null default clock_timestamp()
);
create index quota_ledger_period on quota_ledger (user_id, resource, period_start, id);

alter table quota_ledger enable row level security;
alter table quota_ledger force row level security;
create policy own_read on quota_ledger for select to visiona_app, visiona_worker
  using (user_id = (select visiona.uid()));
create policy system_read on quota_ledger for select to visiona_worker using ((select visiona.is_system()));
-- A reservation is made before the work it is for has a number: its entry gets it once, afterwards.
create policy own_explain on quota_ledger for update to visiona_app
  using (user_id = (select visiona.uid()) and entry = 'reserve' and reference = '')
  with check (user_id = (select visiona.uid()));
create policy trigger_appends on quota_ledger for insert to visiona_owner with check (true);
grant select, update (reference) on quota_ledger to visiona_app;
grant select on quota_ledger to visiona_worker;

create function visiona.write_ledger() returns trigger
  language plpgsql security definer set search_path = public, pg_temp
as $$
begin
  insert into quota_ledger
    (user_id, resource, period_start, entry, reference, plan, entitled, reserved, used, amount)
  values (new.user_id, new.resource, new.period_start, new.entry, new.reference, new.plan,
    new.entitled - coalesce(old.entitled, 0), new.reserved - coalesce(old.reserved, 0),
    new.used - coalesce(old.used, 0), new.balance - coalesce(old.balance, 0));
  return null;
end $$;
create trigger ledger after insert or update on quota_usage
  for each row execute function visiona.write_ledger();

-- Periods from before there was a ledger open theirs with what they have.
alter table quota_usage no force row level security;
alter table entitlements no force row level security;
update plans set is_base = true where name = 'free';
update quota_usage q set
  entry = 'opening',
  plan = p.name,
  entitled = case q.resource when 'images' then p.images else p.clones end
from plans p
where p.name = coalesce((select e.plan from entitlements e where e.user_id = q.user_id), 'free');
-- The entry above holds the change of `entitled` alone: these two were there before it.
alter table quota_ledger no force row level security;
update quota_ledger l set reserved = q.reserved, used = q.used
from quota_usage q
where (l.user_id, l.resource, l.period_start) = (q.user_id, q.resource, q.period_start);
alter table quota_ledger force row level security;
alter table quota_usage force row level security;
alter table entitlements force row level security;

drop policy tier_limit_insert on quota_usage;
drop policy tier_limit_update on quota_usage;
drop function visiona.plan_limit(text);

-- What the signed-in person may have in a calendar month without a subscription: the plan that an
-- operator gave them, or the one that everybody has.
create function visiona.base_limit(resource text) returns integer
  language sql stable
begin atomic
  select case resource when 'images' then p.images else p.clones end
  from plans p
  where p.name = coalesce(
    (select e.plan from entitlements e where e.user_id = visiona.uid()),
    (select b.name from plans b where b.is_base));
end;
grant execute on function visiona.base_limit(text) to visiona_app, visiona_worker;

-- The tier's limit, held by the database. The application role opens calendar months (in UTC, as in
-- `billing.model`; a day of grace is for clocks that disagree) with what everybody has in them; other
-- periods are the worker's to open. Of what is open now it can set aside what is left, and the ledger
-- will call it that.
create policy tier_limit_insert on quota_usage as restrictive for insert to visiona_app
  with check (
    entitled <= (select visiona.base_limit(resource))
    and period_start in (
      date_trunc('month', now() - interval '1 day', 'UTC'),
      date_trunc('month', now() + interval '1 day', 'UTC'))
    and period_end <= date_trunc('month', now() + interval '1 day', 'UTC') + interval '32 days');
create policy tier_limit_update on quota_usage as restrictive for update to visiona_app
  using (now() between period_start - interval '1 day' and period_end + interval '1 day')
  with check (used + reserved <= entitled and entry = 'reserve');
create policy system_all on quota_usage for all to visiona_worker
  using ((select visiona.is_system())) with check ((select visiona.is_system()));
drop policy system_read on quota_usage;

revoke insert (user_id, resource, period_start, period_end, reserved), update (reserved)
  on quota_usage from visiona_app;
grant insert (user_id, resource, period_start, period_end, plan, entitled), update (reserved, entry, reference)
  on quota_usage to visiona_app;
grant insert, update on quota_usage to visiona_worker;

-- Payments

-- A person at the payment service. `version` counts what was written from its reports: a report that
-- was asked for before somebody else wrote theirs is thrown away and asked for again.
create table payment_customers (
  user_id bigint primary key references users on delete cascade,
  customer_id text unique check (length(customer_id) <= 255),
  -- Where they are a customer: what was bought with play money is worth nothing elsewhere.
  mode text not null check (mode in ('sandbox', 'test', 'live')),
  attempt integer not null default 1,
  version bigint not null default 0,
  synced_at timestamptz,
  -- When the report should be read again even if nobody says anything.
  due_at timestamptz,
  created_at timestamptz not null default current_timestamp
);
create index payment_customers_due on payment_customers (due_at) where customer_id is not null;
create index payment_customers_mode on payment_customers (mode) where customer_id is not null;

-- An intent to subscribe. At most one of a person is open, so that two clicks make one subscription.
create table checkouts (
  id uuid primary key,
  user_id bigint not null references users on delete cascade,
  lookup_key text not null check (length(lookup_key) <= 200),
  plan text not null references plans,
  trial_days integer not null check (trial_days >= 0),
  state text not null default 'creating'
    check (state in ('creating', 'open', 'complete', 'expired', 'failed')),
  session_id text unique check (length(session_id) <= 255),
  created_at timestamptz not null,
  expires_at timestamptz not null
);
create index checkouts_user on checkouts (user_id);
create unique index checkouts_open on checkouts (user_id) where state in ('creating', 'open');

create table subscriptions (
  id text primary key check (length(id) <= 255),
  user_id bigint not null references users on delete cascade,
  status text not null check (length(status) <= 50),
  -- Null where the price belongs to no plan of ours.
  plan text references plans,
  item_id text not null,
  price_id text not null,
  billing_interval text check (billing_interval in ('month', 'year')),
  amount numeric not null,
  currency text not null check (length(currency) <= 10),
  period_start timestamptz not null,
  period_end timestamptz not null,
  trial_end timestamptz,
  cancel_at timestamptz,
  ended_at timestamptz,
  next_plan text references plans,
  next_amount numeric,
  created_at timestamptz not null
);
create index subscriptions_user on subscriptions (user_id, created_at);

create table invoices (
  id text primary key check (length(id) <= 255),
  user_id bigint not null references users on delete cascade,
  subscription_id text,
  number text,
  status text not null check (length(status) <= 50),
  reason text not null check (length(reason) <= 100),
  total numeric not null,
  amount_paid numeric not null,
  amount_remaining numeric not null,
  currency text not null check (length(currency) <= 10),
  next_attempt_at timestamptz,
  paid_at timestamptz,
  created_at timestamptz not null
);
create index invoices_user on invoices (user_id, created_at);

-- Two digits are enough: of currencies that have three, Stripe takes no amount with a third.
alter table payments
  add column refunded numeric(10, 2) not null default 0,
  add column disputed numeric(10, 2) not null default 0,
  add column invoice_id text;
create index payments_invoice on payments (invoice_id);

do $$
declare
  name text;
begin
  foreach name in array array['payment_customers', 'checkouts', 'subscriptions', 'invoices'] loop
    execute format('alter table %I enable row level security', name);
    execute format('alter table %I force row level security', name);
    execute format('create policy own_read on %I for select to visiona_app, visiona_worker
      using (user_id = (select visiona.uid()))', name);
    execute format('create policy system_all on %I for all to visiona_worker
      using ((select visiona.is_system())) with check ((select visiona.is_system()))', name);
  end loop;
end $$;

-- A person becomes a customer once, and starts checkouts; what comes of them is the worker's to say.
create policy own_insert on payment_customers for insert to visiona_app
  with check (user_id = (select visiona.uid()));
create policy own_link on payment_customers for update to visiona_app
  using (user_id = (select visiona.uid()) and customer_id is null)
  with check (user_id = (select visiona.uid()));
create policy own_insert on checkouts for insert to visiona_app
  with check (user_id = (select visiona.uid()) and state = 'creating');
create policy own_update on checkouts for update to visiona_app
  using (user_id = (select visiona.uid())) with check (user_id = (select visiona.uid()));

grant select, insert (user_id, mode), update (customer_id, attempt, mode) on payment_customers to visiona_app;
grant select, insert, update on payment_customers to visiona_worker;
grant select, insert (id, user_id, lookup_key, plan, trial_days, created_at, expires_at),
  update (state, session_id) on checkouts to visiona_app;
grant select, update, delete on checkouts to visiona_worker;
grant select on subscriptions, invoices to visiona_app;
grant select, insert, update on subscriptions, invoices to visiona_worker;
