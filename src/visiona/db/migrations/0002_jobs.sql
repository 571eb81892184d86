-- Procrastinate's tables hold ids, never personal data. The worker owns the queue; the application
-- role can add a job through one function and can see nothing.

grant usage on schema procrastinate to visiona_worker;
grant select, insert, update, delete on all tables in schema procrastinate to visiona_worker;
grant usage on all sequences in schema procrastinate to visiona_worker;
grant execute on all functions in schema procrastinate to visiona_worker;
revoke execute on all functions in schema procrastinate from public;
-- What a later version of the library adds is the worker's too, and nobody else's.
alter default privileges in schema procrastinate
  grant select, insert, update, delete on tables to visiona_worker;
alter default privileges in schema procrastinate grant usage on sequences to visiona_worker;
alter default privileges in schema procrastinate grant execute on functions to visiona_worker;

do $$
declare
  name text;
begin
  for name in select tablename from pg_tables where schemaname = 'procrastinate' loop
    execute format('alter table procrastinate.%I enable row level security', name);
    execute format('alter table procrastinate.%I force row level security', name);
    execute format(
      'create policy worker on procrastinate.%I for all to visiona_worker using (true) with check (true)',
      name);
  end loop;
end $$;

-- Insert a job in the caller's transaction. With `once`, not while the same job waits to be started:
-- the library's own queueing lock is not used for that, since a retry that meets another waiting job
-- violates its unique index, and row-level security hides the detail that the library reads then.
create function visiona.enqueue(task text, args jsonb, once boolean) returns bigint
  language plpgsql security definer
  set search_path = procrastinate, pg_temp
as $$
begin
  if once and exists (
    select from procrastinate_jobs j
    where j.status = 'todo' and j.task_name = task and j.args = enqueue.args
      and (j.scheduled_at is null or j.scheduled_at <= now()))
  then
    return null;
  end if;
  return (procrastinate_defer_jobs_v1(array[
    row('default', task, 0, null, null, args, null)::procrastinate_job_to_defer_v1
  ]))[1];
end $$;

-- By hash, since arguments may be longer than an ordered index can hold.
create index visiona_waiting_jobs on procrastinate.procrastinate_jobs using hash (args)
  where status = 'todo';

-- Granted before it is handed over: the owner of the schema has no say in it afterwards.
grant execute on function visiona.enqueue(text, jsonb, boolean) to visiona_app, visiona_worker;
grant create on schema visiona to visiona_worker;
alter function visiona.enqueue(text, jsonb, boolean) owner to visiona_worker;
revoke create on schema visiona from visiona_worker;
