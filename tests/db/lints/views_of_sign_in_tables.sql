-- A view over the sign-in service's own people that somebody with a token may read.
select distinct v.oid::regclass::text
from pg_class v
join pg_rewrite w on w.ev_class = v.oid
join pg_depend d on d.objid = w.oid and d.classid = 'pg_rewrite'::regclass
join pg_class t on t.oid = d.refobjid
cross join unnest(array['anon', 'authenticated']) as r (role)
where v.relkind in ('v', 'm') and t.relnamespace::regnamespace::text = 'auth' and t.relname = 'users'
  and has_table_privilege(r.role, v.oid, 'select')
