-- What people write, and what is said about it, is sealed with their own key, which the database never has:
-- prompts, trigger words, the inputs and parameters that may hold their words, what a provider answered, and
-- the link under which it has their photos.
--
-- The columns keep their names. What was there before stays readable, as the bytes of its text, until
-- `visiona migrate` has sealed it right after this; the constraints are not valid before, yet hold for every
-- row that is written from here on. A sealed value begins with a byte that no text in UTF-8 begins with, and is
-- 29 bytes longer than what is in it. The bounds leave room for what earlier releases took.

alter table runs drop constraint runs_prompt_check;

alter table models
  alter column trigger_word type bytea using convert_to(trigger_word, 'UTF8'),
  alter column parameters type bytea using convert_to(parameters::text, 'UTF8'),
  alter column error_message type bytea using convert_to(error_message, 'UTF8');
alter table trainings
  alter column archive_url type bytea using convert_to(archive_url, 'UTF8');
alter table runs
  alter column trigger_word type bytea using convert_to(trigger_word, 'UTF8'),
  alter column prompt type bytea using convert_to(prompt, 'UTF8'),
  alter column enhanced_prompt type bytea using convert_to(enhanced_prompt, 'UTF8'),
  alter column inputs type bytea using convert_to(inputs::text, 'UTF8'),
  alter column error_message type bytea using convert_to(error_message, 'UTF8');
alter table generations
  alter column prompt type bytea using convert_to(prompt, 'UTF8'),
  alter column enhanced_prompt type bytea using convert_to(enhanced_prompt, 'UTF8'),
  alter column parameters type bytea using convert_to(parameters::text, 'UTF8');

do $$
declare
  entry record;
begin
  for entry in
    select * from (values
      ('models', 'trigger_word', 256), ('models', 'parameters', 65536), ('models', 'error_message', 65536),
      ('trainings', 'archive_url', 65536),
      ('runs', 'trigger_word', 256), ('runs', 'prompt', 16384), ('runs', 'enhanced_prompt', 65536),
      ('runs', 'inputs', 131072), ('runs', 'error_message', 65536),
      ('generations', 'prompt', 16384), ('generations', 'enhanced_prompt', 65536),
      ('generations', 'parameters', 131072)) c (relation, field, most)
  loop
    execute format(
      'alter table %1$I add constraint %3$I
         check (substring(%2$I from 1 for 1) = ''\xf8'' and octet_length(%2$I) between 29 and %4$s) not valid',
      entry.relation, entry.field, entry.relation || '_' || entry.field || '_sealed', entry.most);
    execute format('alter table %I alter column %I set statistics 0', entry.relation, entry.field);
  end loop;
end $$;

-- Whoever reads past Visiona has no key, and is not given what they could not read.
revoke select on models from authenticated;
grant select (id, user_id, status, photo_count, version, error_code, created_at, ready_at) on models
  to authenticated;
revoke select (prompt, enhanced_prompt, error_message) on runs from authenticated;
revoke select (prompt, enhanced_prompt, parameters) on generations from authenticated;

grant create on schema visiona to visiona_auth;
set local role visiona_auth;

-- Prompts as they are kept, which the person's key opens, and the keys of the pictures that came of them, while
-- the person allows it. None unless the look is on record.
drop function visiona.person_content(bigint, bigint, integer);
create function visiona.person_content(person bigint, before bigint, amount integer)
  returns table (id bigint, state text, error_code text, prompt bytea, enhanced_prompt bytea,
    created_at timestamptz, images jsonb)
  language sql stable security definer set search_path = public, pg_temp
as $$
  select r.id, r.state, r.error_code, r.prompt, r.enhanced_prompt, r.created_at, (
    select coalesce(jsonb_agg(jsonb_build_object('image_key', g.image_url, 'thumbnail_key', g.thumbnail_url,
      'width', g.width, 'height', g.height) order by g.position), '[]')
    from generations g where g.user_id = person and g.run_id = r.id)
  from runs r
  where r.user_id = person and person in (select visiona.supported()) and (before is null or r.id < before)
    and (select visiona.has_looked(person, 'admin.content_viewed', '1 minute'))
  order by r.id desc limit least(amount, 101)
$$;
grant execute on function visiona.person_content(bigint, bigint, integer) to visiona_app;

set local role visiona_owner;
revoke create on schema visiona from visiona_auth;
