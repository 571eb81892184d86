-- A foreign key without an index that begins with its columns: deleting a parent reads the whole table.
select format('%s.%s', k.conrelid::regclass, k.conname)
from pg_constraint k
where k.contype = 'f' and k.connamespace::regnamespace::text in ('public', 'visiona', 'procrastinate')
  and not exists (
    select from pg_index i
    where i.indrelid = k.conrelid and i.indisvalid
      and (i.indkey::int2[])[0:cardinality(k.conkey) - 1] @> k.conkey)
