-- A function that looks names up wherever its caller says. Bodies in standard SQL were looked up when they
-- were written, and are left out.
select format('%s.%s', f.pronamespace::regnamespace, f.proname)
from pg_proc f
where f.pronamespace::regnamespace::text in ('public', 'visiona', 'procrastinate') and f.prosqlbody is null
  and not exists (select from unnest(f.proconfig) as s (setting) where starts_with(s.setting, 'search_path='))
