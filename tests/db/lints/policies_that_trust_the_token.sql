-- A policy that reads what people may write into their own record at the identity service.
select format('%s.%s', p.polrelid::regclass, p.polname)
from pg_policy p
join pg_class c on c.oid = p.polrelid
where c.relnamespace::regnamespace::text in ('public', 'visiona', 'procrastinate')
  and concat(pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
    ~ 'user_?metadata|unsafe_metadata|request\.jwt'
