-- A policy that lets every row through.
select format('%s.%s for %s', p.polrelid::regclass, p.polname, r.role)
from pg_policy p
join pg_class c on c.oid = p.polrelid
cross join lateral (
  select case m.member when 0 then 'public' else m.member::regrole::text end as role
  from unnest(p.polroles) as m (member)) r
where c.relnamespace::regnamespace::text in ('public', 'visiona', 'procrastinate') and p.polpermissive
  and 'true' in (pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
