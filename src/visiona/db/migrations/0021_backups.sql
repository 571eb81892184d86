-- What became of backups and of their rehearsals, for those who look after the server. The backups themselves say
-- what they hold; none of that is here. Only their maker writes this, who is the database's owner: no role that
-- serves people or runs their jobs sees it.

create table backup_runs (
  id bigint generated always as identity primary key,
  kind text not null check (kind in ('create', 'rehearse')),
  set_id text not null check (length(set_id) <= 64),
  started_at timestamptz not null,
  finished_at timestamptz not null default now(),
  ok boolean not null,
  report jsonb not null
);
create index backup_runs_newest on backup_runs (kind, finished_at desc);

alter table backup_runs enable row level security;
alter table backup_runs force row level security;
