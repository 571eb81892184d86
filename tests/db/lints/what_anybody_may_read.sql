-- A table that answers without a token.
select distinct c.oid::regclass::text
from pg_class c
join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where c.relkind in ('r', 'p', 'v', 'm', 'f') and c.relnamespace::regnamespace::text in ('public', 'visiona', 'procrastinate')
  and has_column_privilege('anon', c.oid, a.attnum, 'select, insert, update')
