"""What the ledger of quotas has to hold, as queries for whoever sees everything; no row is how it should be.

`%(user)s` is one person's id, or null for everybody.
"""

# Every period's entries sum up to it, and never went below nothing.
UNEVEN = """
select q.*, l.* from quota_usage q left join lateral (
  select sum(amount) as amount, sum(entitled) as entitled, sum(reserved) as reserved, sum(used) as used,
    min(used) as least_used, min(left_then) as least_left, min(open_then) as least_open
  from (
    select *, sum(amount) over so_far as left_then, sum(reserved) over so_far as open_then
    from quota_ledger
    where (user_id, resource, period_start) = (q.user_id, q.resource, q.period_start)
    window so_far as (order by id)) as entries) l on true
where coalesce(q.user_id = %(user)s, true) and (
  (l.amount, l.entitled, l.reserved, l.used) is distinct from (q.balance, q.entitled, q.reserved, q.used)
  or least(l.least_used, l.least_left, l.least_open) < 0
  or q.granted <> greatest(q.entitled, q.used + q.reserved)
  or q.balance <> greatest(q.entitled - q.used - q.reserved, 0))
"""

# No entry belongs to no period.
STRAY = """
select l.* from quota_ledger l where coalesce(l.user_id = %(user)s, true) and not exists (
  select from quota_usage q
  where (q.user_id, q.resource, q.period_start) = (l.user_id, l.resource, l.period_start))
"""

# Every piece of work has one reservation, and once it is over one settlement, for what it delivered. Only
# while nothing was deleted.
UNSETTLED = """
select w.* from (
  select user_id, 'images' as resource, quota_period, 'run:' || id as reference, num_outputs as amount,
    (select count(*) from generations g where g.run_id = r.id) as delivered, finished_at
  from runs r
  union all
  select t.user_id, 'clones', t.quota_period, 'clone:' || t.model_id, 1,
    (t.state = 'succeeded')::int, t.finished_at
  from trainings t) w
left join lateral (
  select count(*) filter (where entry = 'reserve') as reservations,
    coalesce(sum(reserved) filter (where entry = 'reserve'), 0) as reserved,
    count(*) filter (where entry = 'settle') as settlements,
    coalesce(sum(reserved) filter (where entry = 'settle'), 0) as given_back,
    coalesce(sum(used) filter (where entry = 'settle'), 0) as used
  from quota_ledger
  where (user_id, resource, period_start, reference)
    = (w.user_id, w.resource, w.quota_period, w.reference)) l on true
where coalesce(w.user_id = %(user)s, true) and (
  (l.reservations, l.reserved) <> (1, w.amount)
  or case when w.finished_at is null then l.settlements > 0
     else (l.settlements, l.given_back, l.used) <> (1, -w.amount, w.delivered) end)
"""
