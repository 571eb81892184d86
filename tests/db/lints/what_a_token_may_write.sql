-- A table that somebody with a token may change past the application: quota, objects and jobs move together.
select distinct c.oid::regclass::text
from pg_class c
join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where c.relkind in ('r', 'p', 'v', 'f') and c.relnamespace::regnamespace::text in ('public', 'visiona', 'procrastinate')
  and (has_column_privilege('authenticated', c.oid, a.attnum, 'insert, update, references')
    or has_table_privilege('authenticated', c.oid, 'delete, truncate, trigger'))
