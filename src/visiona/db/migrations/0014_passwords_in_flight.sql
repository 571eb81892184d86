-- What was begun with a password that is no more comes to nothing, however the two meet.
--
-- Checking a password takes time, and longer while many do. Whoever knew the old one could have a log-in, or a
-- change of the password, on its way while its owner chose a new one, and be in afterwards.

grant create on schema visiona to visiona_auth;
set local role visiona_auth;

-- The password stays what it is until the session is there to be ended with it: what is read of it after this,
-- in the same transaction, is what the session stands on.
create or replace function visiona.open_session(
  session_id uuid, hash bytea, agent text, expires timestamptz, provider_session text)
  returns timestamptz
  language plpgsql security definer set search_path = public, pg_temp
as $$
begin
  if visiona.uid() is null then
    raise insufficient_privilege using message = 'this transaction is for nobody';
  end if;
  perform from credentials c where c.user_id = visiona.uid() for share;
  insert into sessions (id, user_id, secret_hash, client, expires_at, provider_session_id)
    values (session_id, visiona.uid(), hash, agent, expires, provider_session);
  return current_timestamp;
end $$;

-- False, and nothing is changed, where the session that is to be kept has ended meanwhile.
create or replace function visiona.set_password(new_hash text, kept_session uuid) returns boolean
  language plpgsql security definer set search_path = public, pg_temp
as $$
begin
  -- Two at the same time take turns here.
  perform from credentials c where c.user_id = visiona.uid() for no key update;
  if not found then
    return false;
  end if;
  if kept_session is not null and not exists (
      select from sessions s
      where s.user_id = visiona.uid() and s.id = kept_session and s.revoked_at is null
        and s.expires_at > now()) then
    return false;
  end if;
  update credentials set password_hash = new_hash, changed_at = now() where user_id = visiona.uid();
  update sessions set revoked_at = now()
    where user_id = visiona.uid() and id is distinct from kept_session and revoked_at is null;
  return true;
end $$;

set local role visiona_owner;
revoke create on schema visiona from visiona_auth;
