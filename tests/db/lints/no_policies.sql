-- Row-level security without any policy: nobody sees anything, which is seldom what was meant.
select c.oid::regclass::text
from pg_class c
where c.relkind in ('r', 'p') and c.relnamespace::regnamespace::text in ('public', 'visiona', 'procrastinate')
  and c.relrowsecurity and not exists (select from pg_policy p where p.polrelid = c.oid)
