-- A function with its owner's rights that somebody with a token, or nobody, may call.
select format('%s.%s for %s', f.pronamespace::regnamespace, f.proname, r.role)
from pg_proc f
cross join unnest(array['anon', 'authenticated']) as r (role)
where f.prosecdef and f.pronamespace::regnamespace::text in ('public', 'visiona', 'procrastinate')
  and has_function_privilege(r.role, f.oid, 'execute')
