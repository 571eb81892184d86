-- A policy that asks who is asking outside of a sub-select: it is asked again for each row.
select format('%s.%s', p.polrelid::regclass, p.polname)
from pg_policy p
join pg_class c on c.oid = p.polrelid
cross join lateral (
  values (pg_get_expr(p.polqual, p.polrelid)), (pg_get_expr(p.polwithcheck, p.polrelid))) e (condition)
where c.relnamespace::regnamespace::text in ('public', 'visiona', 'procrastinate')
  and regexp_replace(e.condition, '\( SELECT (visiona|auth)\.\w+\([^()]*(\([^()]*\))?[^()]*\) AS', '', 'g')
    ~ '(visiona|auth)\.\w+\(|current_setting\('
