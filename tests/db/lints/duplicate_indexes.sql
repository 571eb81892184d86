-- Two indexes that are alike but for their name: each write keeps both.
select format('%s and %s', min(i.indexrelid::regclass::text), max(i.indexrelid::regclass::text))
from pg_index i
join pg_class c on c.oid = i.indexrelid
where c.relnamespace::regnamespace::text in ('public', 'visiona', 'procrastinate')
group by i.indrelid, c.relam, i.indkey::text, i.indclass::text, i.indoption::text, i.indcollation::text,
  pg_get_expr(i.indexprs, i.indrelid), pg_get_expr(i.indpred, i.indrelid)
having count(*) > 1
