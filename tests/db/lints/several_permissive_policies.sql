-- Several policies any of which opens the same rows to the same role: each is one more way in, and all of
-- them are tried.
select format('%s: %s may %s', p.polrelid::regclass, r.role, v.verb)
from pg_policy p
join pg_class c on c.oid = p.polrelid
cross join lateral (
  select case m.member when 0 then 'public' else m.member::regrole::text end as role
  from unnest(p.polroles) as m (member)) r
join (values ('r', 'select'), ('a', 'insert'), ('w', 'update'), ('d', 'delete')) v (cmd, verb)
  on p.polcmd::text in (v.cmd, '*')
where c.relnamespace::regnamespace::text in ('public', 'visiona', 'procrastinate') and p.polpermissive
group by p.polrelid, r.role, v.verb
having count(*) > 1
