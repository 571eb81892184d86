-- A table whose rows nothing tells apart.
select c.oid::regclass::text
from pg_class c
where c.relkind in ('r', 'p') and c.relnamespace::regnamespace::text in ('public', 'visiona', 'procrastinate')
  and not exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary)
