-- Materialized views and foreign tables know no policies; nobody who comes with a token may read one.
select format('%s for %s', c.oid::regclass, r.role)
from pg_class c
cross join unnest(array['anon', 'authenticated']) as r (role)
where c.relkind in ('m', 'f') and c.relnamespace::regnamespace::text in ('public', 'visiona', 'procrastinate')
  and has_table_privilege(r.role, c.oid, 'select')
