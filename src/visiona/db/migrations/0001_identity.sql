-- Who is asking, as SQL sees it; every policy below compares with these.
--
-- The form is the one Supabase advises: the request's claims in `request.jwt.claims`, local to the
-- transaction; `''` counts as no claims, since that is what a reused connection reads; policies wrap
-- the calls in `(select …)`, so that they run once per statement and not once per row.

-- Whatever the owner makes from here on, nobody executes it unless it is granted. (A default of one
-- schema cannot take away what PostgreSQL grants to PUBLIC everywhere; this one can.)
alter default privileges revoke execute on functions from public;

create function visiona.claims() returns jsonb
  language sql stable
  return nullif(current_setting('request.jwt.claims', true), '')::jsonb;

create function visiona.uid() returns bigint
  language sql stable
  return (visiona.claims() ->> 'user_id')::bigint;

-- A named part of Visiona itself (`system:sweep`), never a person.
create function visiona.is_system() returns boolean
  language sql stable
  return coalesce(visiona.claims() ->> 'role' = 'system', false);

grant usage on schema visiona to visiona_app, visiona_worker, visiona_auth;
grant execute on all functions in schema visiona to visiona_app, visiona_worker, visiona_auth;
