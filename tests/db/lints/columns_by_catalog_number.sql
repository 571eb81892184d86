-- A column that names a catalog entry by its number: an upgrade of the server cannot carry it over.
select format('%s.%s', c.oid::regclass, a.attname)
from pg_class c
join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where c.relkind in ('r', 'p') and c.relnamespace::regnamespace::text in ('public', 'visiona', 'procrastinate')
  and a.atttypid in ('regproc'::regtype, 'regprocedure'::regtype, 'regoper'::regtype,
    'regoperator'::regtype, 'regconfig'::regtype, 'regdictionary'::regtype, 'regcollation'::regtype,
    'regnamespace'::regtype)
