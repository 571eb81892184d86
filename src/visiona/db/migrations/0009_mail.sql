-- Mails to people, as they wait and until a month after they were sent.
--
-- A row says what is to be told, never the words: those are written when it is sent, so that neither a
-- one-time link nor an address that the person has already is kept here. `reference` is the id of what
-- a link acts on; the link itself is made from it and a secret that is not in the database.

create table mails (
  id uuid primary key,
  user_id bigint not null references users on delete cascade,
  kind text not null check (length(kind) <= 50),
  -- Only where it is not the address of the account: one to be confirmed, or the one before. Forgotten
  -- when the mail has left.
  address text check (length(address) <= 254),
  reference uuid,
  -- Days, amounts and counts that the words need.
  details jsonb not null default '{}'
    check (jsonb_typeof(details) = 'object' and length(details::text) <= 2000),
  -- What must be told once, however often it is noticed: `trial_ends:sub_…`.
  once text check (length(once) <= 300),
  state text not null default 'waiting' check (state in ('waiting', 'sent', 'refused', 'given_up')),
  attempts integer not null default 0,
  -- Nobody tries it before; null until it was tried once.
  next_attempt_at timestamptz,
  created_at timestamptz not null default current_timestamp,
  sent_at timestamptz
);
create index mails_user on mails (user_id, created_at);
create unique index mails_once on mails (user_id, once);
create index mails_waiting on mails (created_at) where state = 'waiting';
create index mails_created on mails (created_at);

alter table mails enable row level security;
alter table mails force row level security;

-- Whoever asks for something may have a mail posted to themself. What waits, nobody but the worker reads.
create policy own_insert on mails for insert to visiona_app with check (user_id = (select visiona.uid()));
create policy system_all on mails for all to visiona_worker
  using ((select visiona.is_system())) with check ((select visiona.is_system()));

grant insert (id, user_id, kind, address, reference, details) on mails to visiona_app, visiona_worker;
grant select, insert (once), update, delete on mails to visiona_worker;
