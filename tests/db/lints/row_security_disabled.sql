-- A table in a schema of ours without row-level security, whoever may read it now.
select c.oid::regclass::text
from pg_class c
where c.relkind in ('r', 'p') and c.relnamespace::regnamespace::text in ('public', 'visiona', 'procrastinate')
  and not c.relrowsecurity
