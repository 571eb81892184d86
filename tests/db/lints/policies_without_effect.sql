-- Policies on a table whose row-level security is off: they look like protection and are none.
select c.oid::regclass::text
from pg_class c
where c.relnamespace::regnamespace::text in ('public', 'visiona', 'procrastinate') and not c.relrowsecurity
  and exists (select from pg_policy p where p.polrelid = c.oid)
