-- Erasures, as administrators see them: how far each has come, and what holds it up. And what a message of another
-- firm was about is forgotten once it is processed.

grant update (reference) on webhook_receipts to visiona_worker;

grant create on schema visiona to visiona_auth;
set local role visiona_auth;

-- Those that wait or run, the next to be due first; of one person where one is named.
create function visiona.erasures_open(person bigint, amount integer)
  returns table (number bigint, id uuid, user_id bigint, cause text, state text, asked_at timestamptz,
    due_at timestamptz, started_at timestamptz, finished_at timestamptz, steps jsonb, attempts integer,
    next_attempt_at timestamptz, trouble text)
  language sql stable security definer set search_path = public, pg_temp
as $$
  select e.number, e.id, e.user_id, e.cause, e.state, e.asked_at, e.due_at, e.started_at, e.finished_at, e.steps,
    e.attempts, e.next_attempt_at, e.trouble
  from erasures e
  where e.state in ('waiting', 'erasing') and (person is null or e.user_id = person)
    and (select visiona.is_admin())
  order by e.due_at, e.number limit least(amount, 101)
$$;

-- Those that are over, the newest first.
create function visiona.erasures_over(before bigint, amount integer)
  returns table (number bigint, id uuid, user_id bigint, cause text, state text, asked_at timestamptz,
    due_at timestamptz, started_at timestamptz, finished_at timestamptz, steps jsonb, attempts integer,
    next_attempt_at timestamptz, trouble text)
  language sql stable security definer set search_path = public, pg_temp
as $$
  select e.number, e.id, e.user_id, e.cause, e.state, e.asked_at, e.due_at, e.started_at, e.finished_at, e.steps,
    e.attempts, e.next_attempt_at, e.trouble
  from erasures e
  where e.state in ('done', 'withdrawn') and (before is null or e.number < before) and (select visiona.is_admin())
  order by e.number desc limit least(amount, 101)
$$;

revoke execute on function visiona.erasures_open(bigint, integer), visiona.erasures_over(bigint, integer) from public;
grant execute on function visiona.erasures_open(bigint, integer), visiona.erasures_over(bigint, integer)
  to visiona_app;

set local role visiona_owner;
revoke create on schema visiona from visiona_auth;
