-- An index that was not finished: it costs, and serves nothing.
select i.indexrelid::regclass::text
from pg_index i join pg_class c on c.oid = i.indexrelid
where c.relnamespace::regnamespace::text in ('public', 'visiona', 'procrastinate') and not (i.indisvalid and i.indisready)
