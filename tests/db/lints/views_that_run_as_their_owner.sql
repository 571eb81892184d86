-- A view without security_invoker shows what its owner may see to whoever may read the view.
select c.oid::regclass::text
from pg_class c
where c.relkind = 'v' and c.relnamespace::regnamespace::text in ('public', 'visiona', 'procrastinate')
  and not coalesce(c.reloptions && array['security_invoker=true', 'security_invoker=on',
    'security_invoker=1'], false)
