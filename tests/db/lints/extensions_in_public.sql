-- An extension among the tables: its functions are everybody's, and are found first.
select e.extname::text from pg_extension e where e.extnamespace::regnamespace::text in ('public', 'visiona', 'procrastinate')
