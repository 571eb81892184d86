-- Photos, clones, runs and images. Work in progress has tables of its own (`trainings`, `runs`), so
-- that a row of `generations` always has its image.
--
-- Foreign keys carry the owner, (user_id, …): a row cannot point at another person's parent even
-- though the check itself runs above row-level security. Keys of objects carry the owner too, and
-- `own_objects` holds them to it: deleting one person's row can never delete another's bytes.

-- An object's key is written here before its bytes, and taken out in the transaction that makes its
-- row: what stays behind for an hour has no row and is removed by the sweep.
create table pending_objects (
  key text primary key,
  user_id bigint not null references users on delete cascade,
  created_at timestamptz not null default current_timestamp,
  constraint own_objects check (starts_with(key, 'u' || user_id || '/'))
);
create index pending_objects_user on pending_objects (user_id);
create index pending_objects_created on pending_objects (created_at);

create table photos (
  id bigint generated always as identity primary key,
  user_id bigint not null references users on delete cascade,
  -- Keys of private objects; the API turns them into short-lived signed links.
  file_url text not null unique,
  thumbnail_url text not null,
  width integer not null check (width > 0),
  height integer not null check (height > 0),
  size bigint not null check (size > 0),
  sha256 text not null check (length(sha256) = 64),
  warnings text[] not null default '{}',
  uploaded_at timestamptz not null default current_timestamp,
  unique (user_id, id),
  unique (user_id, sha256),
  constraint own_objects check (
    starts_with(file_url, 'u' || user_id || '/') and starts_with(thumbnail_url, 'u' || user_id || '/'))
);

create table models (
  id bigint generated always as identity primary key,
  user_id bigint not null references users on delete cascade,
  trigger_word varchar(50) not null,
  status text not null default 'Processing' check (status in ('Processing', 'Ready', 'Failed')),
  parameters jsonb not null,
  photo_count integer not null check (photo_count > 0),
  -- The trained version at the provider, and the schema of the inputs it takes.
  version text,
  input_schema jsonb,
  error_code text,
  error_message text,
  created_at timestamptz not null default current_timestamp,
  ready_at timestamptz,
  unique (user_id, id),
  check ((status = 'Ready') = (version is not null and input_schema is not null)),
  check ((status = 'Failed') = (error_code is not null))
);

create table model_photos (
  user_id bigint not null,
  model_id bigint not null,
  photo_id bigint not null,
  primary key (user_id, model_id, photo_id),
  foreign key (user_id, model_id) references models (user_id, id) on delete cascade,
  foreign key (user_id, photo_id) references photos (user_id, id) on delete cascade
);
create index model_photos_photo on model_photos (user_id, photo_id);

create table trainings (
  id bigint generated always as identity primary key,
  user_id bigint not null,
  model_id bigint not null,
  state text not null default 'queued'
    check (state in ('queued', 'submitting', 'running', 'succeeded', 'failed', 'canceled')),
  progress real not null default 0 check (progress between 0 and 1),
  archive_id text,
  archive_url text,
  provider_id text unique,
  quota_period timestamptz not null,
  cancel_requested_at timestamptz,
  submitted_at timestamptz,
  checked_at timestamptz,
  created_at timestamptz not null default current_timestamp,
  finished_at timestamptz,
  unique (user_id, model_id),
  foreign key (user_id, model_id) references models (user_id, id) on delete cascade,
  check ((state in ('succeeded', 'failed', 'canceled')) = (finished_at is not null))
);
create index trainings_open on trainings (created_at) where finished_at is null;

create table runs (
  id bigint generated always as identity primary key,
  user_id bigint not null references users on delete cascade,
  model_id bigint,
  version text not null,
  trigger_word varchar(50) not null,
  prompt text not null check (length(prompt) between 1 and 4000),
  enhance boolean not null,
  enhanced_prompt text,
  enhancement_provider text,
  enhancement_outcome text not null default 'not_requested' check (enhancement_outcome in
    ('not_requested', 'pending', 'enhanced', 'refused', 'unavailable', 'off')),
  inputs jsonb not null,
  num_outputs integer not null check (num_outputs between 1 and 4),
  state text not null default 'queued'
    check (state in ('queued', 'submitting', 'running', 'succeeded', 'failed', 'canceled')),
  progress real not null default 0 check (progress between 0 and 1),
  provider_id text unique,
  error_code text,
  error_message text,
  quota_period timestamptz not null,
  cancel_requested_at timestamptz,
  submitted_at timestamptz,
  checked_at timestamptz,
  created_at timestamptz not null default current_timestamp,
  finished_at timestamptz,
  unique (user_id, id),
  foreign key (user_id, model_id) references models (user_id, id) on delete set null (model_id),
  check ((state in ('succeeded', 'failed', 'canceled')) = (finished_at is not null))
);
create index runs_model on runs (user_id, model_id);
create index runs_open on runs (user_id) where finished_at is null;

create table generations (
  id bigint generated always as identity primary key,
  user_id bigint not null references users on delete cascade,
  model_id bigint,
  run_id bigint not null,
  position integer not null check (position between 0 and 3),
  prompt text not null,
  enhanced_prompt text,
  image_url text not null unique,
  thumbnail_url text not null,
  content_type text not null,
  width integer not null check (width > 0),
  height integer not null check (height > 0),
  size bigint not null check (size > 0),
  sha256 text not null check (length(sha256) = 64),
  seed bigint,
  parameters jsonb not null,
  created_at timestamptz not null default current_timestamp,
  unique (user_id, id),
  unique (user_id, run_id, position),
  foreign key (user_id, model_id) references models (user_id, id) on delete set null (model_id),
  foreign key (user_id, run_id) references runs (user_id, id) on delete cascade,
  constraint own_objects check (
    starts_with(image_url, 'u' || user_id || '/') and starts_with(thumbnail_url, 'u' || user_id || '/'))
);
create index generations_model on generations (user_id, model_id, id);

-- What a provider said, stored once: ids and states only, never prompts or links.
create table webhook_receipts (
  id bigint generated always as identity primary key,
  provider text not null,
  external_id text not null check (length(external_id) <= 255),
  topic text not null,
  reference jsonb not null,
  received_at timestamptz not null default current_timestamp,
  processed_at timestamptz,
  unique (provider, external_id)
);
create index webhook_receipts_received on webhook_receipts (received_at);

do $$
declare
  name text;
begin
  foreach name in array array['pending_objects', 'photos', 'models', 'model_photos', 'trainings',
      'runs', 'generations', 'webhook_receipts'] loop
    execute format('alter table %I enable row level security', name);
    execute format('alter table %I force row level security', name);
  end loop;
  foreach name in array array['pending_objects', 'photos', 'models', 'model_photos', 'trainings',
      'runs', 'generations'] loop
    execute format('create policy own_all on %I for all to visiona_app, visiona_worker
      using (user_id = (select visiona.uid())) with check (user_id = (select visiona.uid()))', name);
    execute format('create policy system_read on %I for select to visiona_worker
      using ((select visiona.is_system()))', name);
  end loop;
end $$;

-- Whether what the signed-in person has set aside covers this much more work, beside all that is
-- open already. The row lock makes parallel callers take turns; VOLATILE lets it see what the
-- calling statement has inserted so far.
create function visiona.is_covered(wanted text, period timestamptz, amount bigint) returns boolean
  language plpgsql volatile set search_path = public, pg_temp
as $$
declare
  set_aside bigint;
  open_work bigint;
begin
  select reserved into set_aside from quota_usage
    where user_id = visiona.uid() and resource = wanted and period_start = period
    for update;
  if wanted = 'clones' then
    select count(*) into open_work from trainings
      where user_id = visiona.uid() and quota_period = period and finished_at is null;
  else
    select coalesce(sum(num_outputs), 0) into open_work from runs
      where user_id = visiona.uid() and quota_period = period and finished_at is null;
  end if;
  return coalesce(set_aside >= open_work + amount, false);
end $$;
grant execute on function visiona.is_covered(text, timestamptz, bigint) to visiona_app;

-- Tier limits, held by the database: no work is put on record without quota set aside for it, and
-- what is set aside covers one piece of work only.
create policy tier_limit on trainings as restrictive for insert to visiona_app
  with check ((select visiona.is_covered('clones', quota_period, 1)));
create policy tier_limit on runs as restrictive for insert to visiona_app
  with check ((select visiona.is_covered('images', quota_period, num_outputs)));
-- A foreign key ties the run to an own model; this ties it to that model's weights.
create policy own_clone on runs as restrictive for insert to visiona_app
  with check (exists (
    select from models m
    where m.user_id = (select visiona.uid()) and m.id = runs.model_id and m.version = runs.version));
-- A training ends before its model goes, or its reservation would never be settled.
create policy not_in_training on models as restrictive for delete to visiona_app
  using (status <> 'Processing');

-- The sweep notes when it last looked at a piece of open work.
create policy system_sweep on trainings for update to visiona_worker
  using ((select visiona.is_system())) with check ((select visiona.is_system()));
create policy system_sweep on runs for update to visiona_worker
  using ((select visiona.is_system())) with check ((select visiona.is_system()));

create policy system_purge on pending_objects for delete to visiona_worker
  using ((select visiona.is_system()));
create policy system_all on webhook_receipts for all to visiona_app, visiona_worker
  using ((select visiona.is_system())) with check ((select visiona.is_system()));

-- Of open work the application role sets what was asked for; states, versions and the provider's ids
-- are the worker's.
grant select, insert (key, user_id), delete on pending_objects to visiona_app, visiona_worker;
grant select, delete,
    insert (user_id, file_url, thumbnail_url, width, height, size, sha256, warnings)
  on photos to visiona_app;
grant select, delete on photos to visiona_worker;
grant select, delete, insert (user_id, trigger_word, parameters, photo_count) on models to visiona_app;
grant select, delete on models to visiona_worker;
grant update (status, version, input_schema, error_code, error_message, ready_at) on models
  to visiona_worker;
grant select, insert, delete on model_photos to visiona_app;
grant select on model_photos to visiona_worker;
grant select, insert (user_id, model_id, quota_period), update (cancel_requested_at)
  on trainings to visiona_app;
grant select, update on trainings to visiona_worker;
grant select, update (cancel_requested_at),
    insert (user_id, model_id, version, trigger_word, prompt, enhance, enhancement_outcome, inputs,
      num_outputs, quota_period)
  on runs to visiona_app;
grant select, update on runs to visiona_worker;
grant select, delete on generations to visiona_app;
grant select, insert, delete on generations to visiona_worker;
grant select (id, provider, external_id), insert (provider, external_id, topic, reference)
  on webhook_receipts to visiona_app;
grant select, update (processed_at), delete on webhook_receipts to visiona_worker;
