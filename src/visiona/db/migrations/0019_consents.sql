-- Consent to the use of a face: before the first photo, in the words that the law asks for.
--
-- A row is one person's answer to one text. It is never changed but to say that it is over, and never
-- deleted before the account is. Photos and clones hang on the consent of the person whose face they show;
-- none is taken in, trained or used without one that holds. Those from before this hang on none: they wait
-- until their owner has consented.

create table consents (
  id uuid not null,
  user_id bigint not null references users on delete cascade,
  subject text not null check (subject in ('self', 'other')),
  state text not null check (state in ('asked', 'given', 'refused', 'withdrawn')),
  -- What the account holder calls somebody else; how the person signed; from where. Sealed.
  label bytea constraint consents_label_sealed check (substring(label from 1 for 1) = '\xf8' and length(label) <= 500),
  name bytea constraint consents_name_sealed check (substring(name from 1 for 1) = '\xf8' and length(name) <= 500),
  client bytea
    constraint consents_client_sealed check (substring(client from 1 for 1) = '\xf8' and length(client) <= 1500),
  version text check (version ~ '^\d{4}-\d\d-\d\d$'),
  text_sha256 bytea check (length(text_sha256) = 32),
  purpose text not null default 'train_and_generate',
  retention text not null default 'until_withdrawn_or_account_deleted',
  asked_at timestamptz not null default current_timestamp,
  expires_at timestamptz,
  answered_at timestamptz,
  withdrawn_at timestamptz,
  primary key (user_id, id),
  check ((subject = 'other') = (label is not null and expires_at is not null)),
  check (state <> 'given' or (version is not null and text_sha256 is not null and name is not null
    and client is not null and answered_at is not null)),
  check (subject = 'other' or state in ('given', 'withdrawn')),
  check ((state = 'withdrawn') = (withdrawn_at is not null))
);
create unique index consents_id on consents (uuid_send(id));
create index consents_withdrawn on consents (withdrawn_at) where state = 'withdrawn';
alter table consents alter label set statistics 0, alter name set statistics 0, alter client set statistics 0,
  alter subject set statistics 0, alter state set statistics 0, alter version set statistics 0,
  alter purpose set statistics 0, alter retention set statistics 0, alter text_sha256 set statistics 0;

alter table photos add column consent_id uuid,
  add foreign key (user_id, consent_id) references consents (user_id, id);
alter table models add column consent_id uuid,
  add foreign key (user_id, consent_id) references consents (user_id, id);
alter table photos alter consent_id set statistics 0;
alter table models alter consent_id set statistics 0;
create index photos_consent on photos (user_id, consent_id);
create index models_consent on models (user_id, consent_id);

-- A run keeps whose face it is of when its clone is gone: its images are of that face still.
alter table runs add column consent_id uuid,
  add foreign key (user_id, consent_id) references consents (user_id, id);
alter table runs alter consent_id set statistics 0;
create index runs_consent on runs (user_id, consent_id);

create function visiona.keep_face() returns trigger
  language plpgsql set search_path = public, pg_temp
as $$
begin
  new.consent_id := (select m.consent_id from models m where m.user_id = new.user_id and m.id = new.model_id);
  return new;
end $$;
create trigger keep_face before insert on runs for each row execute function visiona.keep_face();

alter table consents enable row level security;
alter table consents force row level security;

-- The text that people agree to now. A later one comes with a migration of its own.
create function visiona.consent_version() returns text
  language sql immutable set search_path = public, pg_temp
as $$ select '2026-11-23' $$;

-- Whether photos of this face may be used now.
create function visiona.is_released(consent uuid) returns boolean
  language sql stable set search_path = public, pg_temp
as $$
  select exists (
    select from consents c
    where c.user_id = visiona.uid() and c.id = consent and c.state = 'given'
      and c.version = (select visiona.consent_version()))
$$;
grant execute on function visiona.consent_version(), visiona.is_released(uuid) to visiona_app, visiona_worker;
grant execute on function visiona.consent_version() to visiona_auth;

create policy own_read on consents for select to visiona_app, visiona_worker
  using (user_id = any (array[(select visiona.uid())]));
-- The account holder consents for themself and asks others; only those answer, by their link.
create policy own_give on consents for insert to visiona_app
  with check (user_id = any (array[(select visiona.uid())])
    and ((subject = 'self' and state = 'given' and version = (select visiona.consent_version()))
      or (subject = 'other' and state = 'asked' and version is null and answered_at is null)));
create policy own_withdraw on consents for update to visiona_app
  using (user_id = any (array[(select visiona.uid())]) and state in ('asked', 'given'))
  with check (user_id = any (array[(select visiona.uid())]) and state = 'withdrawn');
create policy system_read on consents for select to visiona_worker using ((select visiona.is_system()));
create policy auth_all on consents for all to visiona_auth using (true) with check (true);

grant select on consents to visiona_app, visiona_worker;
grant insert (id, user_id, subject, state, label, name, client, version, text_sha256, expires_at, answered_at),
  update (state, withdrawn_at) on consents to visiona_app;
grant select, update on consents to visiona_auth;
grant insert (consent_id), update (consent_id) on photos, models to visiona_app;
-- A withdrawal is carried out by the worker, as the person: it may take until a training has ended.
grant delete on photos, models, generations to visiona_worker;

-- No face is taken in, trained or used without the consent of whose it is.
do $$
declare
  holds constant text := 'exists (
    select from consents c
    where c.user_id = (select visiona.uid()) and c.id = %s.consent_id and c.state = ''given''
      and c.version = (select visiona.consent_version()))';
  name text;
begin
  foreach name in array array['photos', 'models'] loop
    execute format('create policy released on %I as restrictive for insert to visiona_app with check (%s)',
      name, format(holds, name));
    execute format('create policy released_update on %I as restrictive for update to visiona_app
      using (true) with check (%s)', name, format(holds, name));
  end loop;
  execute format('create policy released on runs as restrictive for insert to visiona_app with check (exists (
    select from models m where m.user_id = (select visiona.uid()) and m.id = runs.model_id and %s))',
    format(holds, 'm'));
end $$;

grant create on schema visiona to visiona_auth;
set local role visiona_auth;

-- What the link to somebody else's consent is about. Its id cannot be guessed.
create function visiona.find_consent(wanted uuid)
  returns table (user_id bigint, state text, expires_at timestamptz, label bytea)
  language sql stable security definer set search_path = public, pg_temp
as $$
  select c.user_id, c.state, c.expires_at, c.label
  from consents c join users u on u.id = c.user_id
  where uuid_send(c.id) = uuid_send(wanted) and c.subject = 'other' and u.status <> 'deleted'
$$;

create function visiona.give_consent(wanted uuid, agreed text, agreed_sha256 bytea, signed bytea, seen_from bytea)
  returns boolean
  language plpgsql security definer set search_path = public, pg_temp
as $$
begin
  update consents c
    set state = 'given', version = agreed, text_sha256 = agreed_sha256, name = signed, client = seen_from,
      answered_at = now()
    where uuid_send(c.id) = uuid_send(wanted) and c.subject = 'other' and c.state = 'asked' and c.expires_at > now()
      and agreed = visiona.consent_version();
  return found;
end $$;

-- Refused while it is asked, withdrawn once it was given; null where it was over before.
create function visiona.end_consent(wanted uuid) returns text
  language plpgsql security definer set search_path = public, pg_temp
as $$
declare
  now_it_is text;
begin
  update consents c
    set state = case c.state when 'asked' then 'refused' else 'withdrawn' end,
      withdrawn_at = case c.state when 'given' then now() end,
      answered_at = coalesce(c.answered_at, now())
    where uuid_send(c.id) = uuid_send(wanted) and c.subject = 'other' and c.state in ('asked', 'given')
    returning c.state into now_it_is;
  return now_it_is;
end $$;

grant execute on function visiona.find_consent(uuid),
  visiona.give_consent(uuid, text, bytea, bytea, bytea), visiona.end_consent(uuid) to visiona_app;

set local role visiona_owner;
revoke create on schema visiona from visiona_auth;

-- Who may ask for the job of a withdrawal; what was decided for others stays.
do $$
declare
  before text := pg_get_functiondef('visiona.may_enqueue(text, jsonb)'::regprocedure);
  after text := replace(before, '''payments.sync'' then', '''payments.sync'', ''consents.forget'' then');
begin
  if after = before then
    raise exception 'who may ask for jobs is written otherwise than it was';
  end if;
  execute after;
end $$;
