-- Second factors and passkeys of the accounts that Visiona keeps itself.

-- The shared secret of one-time codes (TOTP, RFC 6238). Until it is confirmed it is only being set up.
create table totp_secrets (
  user_id bigint primary key references users on delete cascade,
  -- AES-256-GCM under a key that is not in the database, bound to the owner: nonce, ciphertext, tag.
  secret bytea not null check (length(secret) between 29 and 255),
  confirmed_at timestamptz,
  -- The newest 30 seconds whose code was used: neither that code nor an older one is taken again.
  last_step bigint not null default 0,
  created_at timestamptz not null default current_timestamp
);

-- What stands in for a lost authenticator, each once. They go with the secret.
create table recovery_codes (
  user_id bigint not null references totp_secrets on delete cascade,
  -- HMAC-SHA256 of owner and code under a key that is not in the database.
  code_hash bytea not null check (length(code_hash) = 32),
  used_at timestamptz,
  primary key (user_id, code_hash)
);

create table passkeys (
  id bigint generated always as identity primary key,
  user_id bigint not null references users on delete cascade,
  -- The authenticator's name for it: at least 100 random bits (WebAuthn, section 4).
  credential_id bytea not null unique check (length(credential_id) between 16 and 1023),
  public_key bytea not null check (length(public_key) between 1 and 4096),
  -- What the authenticator says of how often it has signed; most of those that synchronize say 0.
  sign_count bigint not null default 0 check (sign_count >= 0),
  transports text[] not null default '{}' check (cardinality(transports) <= 8),
  name text not null check (length(name) between 1 and 60),
  -- Whether it may be copied to the owner's other devices, and whether it has been.
  synced boolean not null default false,
  backed_up boolean not null default false,
  -- The make of the authenticator; zeros where it does not say.
  aaguid uuid not null,
  created_at timestamptz not null default current_timestamp,
  last_used_at timestamptz
);
create index passkeys_user on passkeys (user_id, created_at);

-- Challenges that were answered, by their SHA-256, so that none is answered twice. Those that were
-- only asked leave nothing here: they carry a signature and their own end.
create table passkey_challenges (
  challenge_hash bytea not null unique check (length(challenge_hash) = 32),
  user_id bigint not null references users on delete cascade,
  expires_at timestamptz not null,
  primary key (user_id, challenge_hash)
);
create index passkey_challenges_end on passkey_challenges (expires_at);

alter table totp_secrets enable row level security;
alter table totp_secrets force row level security;
alter table recovery_codes enable row level security;
alter table recovery_codes force row level security;
alter table passkeys enable row level security;
alter table passkeys force row level security;
alter table passkey_challenges enable row level security;
alter table passkey_challenges force row level security;

create policy own_all on totp_secrets for all to visiona_app
  using (user_id = (select visiona.uid())) with check (user_id = (select visiona.uid()));

create policy own_read on recovery_codes for select to visiona_app
  using (user_id = (select visiona.uid()));
create policy own_insert on recovery_codes for insert to visiona_app
  with check (user_id = (select visiona.uid()));
-- A used code is no row to update: it stays used.
create policy own_use on recovery_codes for update to visiona_app
  using (user_id = (select visiona.uid()) and used_at is null)
  with check (user_id = (select visiona.uid()));
create policy own_delete on recovery_codes for delete to visiona_app
  using (user_id = (select visiona.uid()));

create policy own_all on passkeys for all to visiona_app
  using (user_id = (select visiona.uid())) with check (user_id = (select visiona.uid()));
create policy auth_read on passkeys for select to visiona_auth using (true);

create policy own_append on passkey_challenges for insert to visiona_app
  with check (user_id = (select visiona.uid()));
create policy system_purge_read on passkey_challenges for select to visiona_worker
  using ((select visiona.is_system()));
create policy system_purge on passkey_challenges for delete to visiona_worker
  using ((select visiona.is_system()));

grant select, insert (user_id, secret), update (secret, confirmed_at, last_step), delete
  on totp_secrets to visiona_app;
grant select, insert (user_id, code_hash), update (used_at), delete on recovery_codes to visiona_app;
grant select, delete,
  insert (user_id, credential_id, public_key, sign_count, transports, name, synced, backed_up, aaguid),
  update (name, sign_count, backed_up, last_used_at)
  on passkeys to visiona_app;
grant select (credential_id, user_id, public_key) on passkeys to visiona_auth;
grant insert on passkey_challenges to visiona_app;
grant select, delete on passkey_challenges to visiona_worker;

-- Whose passkey this is, before anybody is known. Its id cannot be guessed, and the answer holds no
-- secret: it only says by which key a signature is to be checked.
create function visiona.find_passkey(credential bytea)
  returns table (user_id bigint, subject text, public_key bytea, status text)
  language sql stable security definer set search_path = public, pg_temp
as $$
  select u.id, u.clerk_id, p.public_key, u.status
  from passkeys p join users u on u.id = p.user_id
  where p.credential_id = credential and u.status <> 'deleted'
$$;

grant create on schema visiona to visiona_auth;
grant execute on function visiona.find_passkey(bytea) to visiona_app;
alter function visiona.find_passkey(bytea) owner to visiona_auth;
revoke create on schema visiona from visiona_auth;
