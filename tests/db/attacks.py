"""SQL that means harm. `<bob>`, `<alice_model>` and so on stand for the ids and values of two people."""

# Saying to be somebody else. After each, whoever asks is still who they were, or nobody.

IDENTITIES = {
    "set": "set \"request.jwt.claims\" = '<bob_claims>'",
    "set local": "set local \"request.jwt.claims\" = '<bob_claims>'",
    "set_config for the transaction": "select set_config('request.jwt.claims', '<bob_claims>', true)",
    "set_config for the session": "select set_config('request.jwt.claims', '<bob_claims>', false)",
    "claims without a proof": """select set_config('request.jwt.claims', '<bob_claims>', true),
        set_config('visiona.proof', '', true)""",
    "claims with a proof of zeros": """select set_config('request.jwt.claims', '<bob_claims>', true),
        set_config('visiona.proof', repeat('0', 64), true)""",
    "claims with a proof under another key": """select set_config('request.jwt.claims', '<bob_claims>', true),
        set_config('visiona.proof', '<forged>', true)""",
    "a proof under no key": """select set_config('request.jwt.claims', '<bob_claims>', true),
        set_config('visiona.proof', encode(sha256(convert_to(
          visiona.challenge() || E'\\n' || '<bob_claims>', 'UTF8')), 'hex'), true)""",
    "a proof under an empty key": """select set_config('request.jwt.claims', '<bob_claims>', true),
        set_config('visiona.proof', encode(sha256(
          decode(repeat('5c', 64), 'hex') || sha256(decode(repeat('36', 64), 'hex')
          || convert_to(visiona.challenge() || E'\\n' || '<bob_claims>', 'UTF8'))), 'hex'), true)""",
    "a proof that is a pattern": """select set_config('request.jwt.claims', '<bob_claims>', true),
        set_config('visiona.proof', '%', true)""",
    "a second user_id in the own claims": """select set_config('request.jwt.claims',
        replace(current_setting('request.jwt.claims', true), '}', ', "user_id": <bob>}'), true)""",
    "the system": """select set_config('request.jwt.claims', '{"role": "system"}', true)""",
    "the system in another role's name": """set local role none;
        select set_config('request.jwt.claims', '{"role": "service_role", "user_id": <bob>}', true)""",
    "an administrator": """select set_config('request.jwt.claims',
        '{"role": "admin", "user_id": <alice>}', true)""",
    "claims that are no JSON": "select set_config('request.jwt.claims', 'x', true)",
    "claims that are a list": "select set_config('request.jwt.claims', '[<bob>]', true)",
    "other settings of PostgREST": """select set_config('request.jwt.claim.sub', '<bob_subject>', true),
        set_config('request.jwt.claim.role', 'service_role', true), set_config('role', 'none', true)""",
    "a savepoint": """savepoint s; set local "request.jwt.claims" = '<bob_claims>'; release s""",
    "a savepoint undone": """savepoint s; set local "request.jwt.claims" = '<bob_claims>'; rollback to s""",
    "commit, begin, set": """commit; begin; set "request.jwt.claims" = '<bob_claims>'""",
    "commit and chain": """set "request.jwt.claims" = '<bob_claims>'; commit and chain""",
    "rollback and chain": """set "request.jwt.claims" = '<bob_claims>'; rollback and chain""",
    "a block of code": """do $$ begin
        perform set_config('request.jwt.claims', '<bob_claims>', false); end $$""",
    "a block that commits": """commit; do $$ begin
        perform set_config('request.jwt.claims', '<bob_claims>', false); commit; end $$; begin""",
    "a prepared statement": """prepare p as select set_config('request.jwt.claims', '<bob_claims>', true);
        execute p""",
    "a statement within one": """with c as materialized (
          select set_config('request.jwt.claims', '<bob_claims>', true))
        select count(*) from c, photos where user_id = <bob>""",
    "reset": "reset all; reset role; reset session authorization",
    "discard": "commit; discard all; begin",
    "set role worker": "set role visiona_worker",
    "set role auth": "set local role visiona_auth",
    "set role owner": "set role visiona_owner",
    "set role authenticated": "set role authenticated",
    "set role superuser": "set role postgres",
    "role by set_config": "select set_config('role', 'visiona_auth', true)",
    "session authorization": "set session authorization authenticator",
    "session authorization by set_config": "select set_config('session_authorization', 'postgres', true)",
    "an own default": """alter role current_user set "request.jwt.claims" = '<bob_claims>'""",
    "everybody's default": """alter role all set "request.jwt.claims" = '<bob_claims>'""",
    "a role's rights": "alter role current_user bypassrls",
    "another's password": "alter role visiona_worker password 'x'",
    "a role": "create role x in role visiona_auth",
    "a membership": "grant visiona_auth to current_user",
    "a key": "insert into visiona.identity_keys values ('x', repeat('x', 64)::bytea, repeat('x', 64)::bytea)",
    "a key replaced": "update visiona.identity_keys set inner_pad = repeat('x', 64)::bytea",
    "a key read": "select * from visiona.identity_keys",
    "a key copied": "copy visiona.identity_keys to stdout",
    "a key's table read by its pages": "select get_raw_page('visiona.identity_keys', 0)",
    "claims replaced": "create or replace function visiona.claims() returns jsonb return '{}'::jsonb",
    "uid replaced": "create or replace function visiona.uid() returns bigint return <bob>",
    "claims renamed": "alter function visiona.claims() rename to x",
    "claims for its caller": "alter function visiona.claims() security invoker",
    "claims owned": "alter function visiona.claims() owner to current_user",
    "session_user shadowed": """create function public.session_user() returns name
          return 'authenticator'::name;
        set local search_path = public, pg_catalog""",
    "sha256 shadowed": """create function pg_temp.sha256(bytea) returns bytea return 'x'::bytea;
        set local search_path = pg_temp, pg_catalog""",
    "an empty search path": "set local search_path = ''",
    "catalogs last": "set local search_path = public, visiona, pg_catalog",
    "replication": "set session_replication_role = replica",
    "a library": "load 'auto_explain'",
    "a library for all sessions": "set session_preload_libraries = 'x'",
    "a preloaded library": "set local_preload_libraries = 'x'",
    "a parameter of the server": "alter system set row_security = off",
    "a language": "create language plpython3u",
    "an extension": "create extension dblink",
}

# Reaching for what is another's.

READINGS = {
    "everything": "select * from photos, users",
    "by id": "select * from photos where id = <bob_photo>",
    "by owner": "select * from users where id = <bob>",
    "to json": "select to_jsonb(u) from users u",
    "locking": "select * from photos where user_id = <bob> for update",
    "locking what is free": "select * from runs for no key update skip locked",
    "a sample": "select * from photos tablesample system (100)",
    "by place": "select * from photos where ctid = any (array['(0,1)', '(0,2)', '(0,3)', '(0,4)']::tid[])",
    "system columns": "select xmin, xmax, cmin, ctid, tableoid, user_id from sessions",
    "only": "select * from only generations",
    "union": "select email::text from users union all select file_url from photos",
    "except": "select user_id from photos except select user_id from photos where user_id = <alice>",
    "a recursive query": """with recursive t as (select id, email from users
        union select u.id, u.email from users u join t on u.id = t.id + 1) select * from t""",
    "a lateral join": "select l.* from users u, lateral (select * from photos p where p.user_id <> u.id) l",
    "an outer join": "select p.* from (values (<bob>)) v(i) left join photos p on p.user_id = v.i",
    "row security off": "set local row_security = off; select * from photos",
    "as XML": "select query_to_xml('select * from users', true, true, '')",
    "a table as XML": "select table_to_xml('public.photos', true, true, '')",
    "a schema as XML": "select schema_to_xml('public', true, true, '')",
    "the database as XML": "select database_to_xml(true, true, '')",
    "words of a search": "select * from ts_stat($$select to_tsvector('simple', email::text) from users$$)",
    "a cursor": "declare c cursor for select * from photos; fetch all from c",
    "a cursor that is held": "declare c cursor with hold for select * from photos; commit; fetch all from c",
    "a scrolling cursor": "declare c scroll cursor for select * from users; fetch last from c",
    "a view": "create view public.v as select * from photos",
    "a view for whoever looks": "create view public.v with (security_invoker) as select * from photos",
    "a materialized view": "create materialized view public.v as select * from photos",
    "a temporary view": "create temp view v as select * from photos; select * from v",
    "a table of all": "create table public.t as select * from photos",
    "select into": "select * into public.t from photos",
    "a temporary table": "create temp table t as select * from photos; select * from t",
    "a child of the table": "create table public.t () inherits (photos)",
    "a rule": "create rule r as on select to photos do instead select * from users",
    "a trigger": """create trigger t before insert on photos
        for each row execute function suppress_redundant_updates_trigger()""",
    "a policy": "create policy mine on photos using (true)",
    "a changed policy": "alter policy own_all on photos using (true)",
    "a dropped policy": "drop policy own_all on photos",
    "no row security": "alter table photos disable row level security",
    "no forced row security": "alter table photos no force row level security",
    "another owner": "alter table photos owner to current_user",
    "another schema": "alter table photos set schema visiona",
    "a dropped table": "drop table photos cascade",
    "truncate": "truncate photos cascade",
    "a grant": "grant all on credentials to public",
    "a definer function": """create function public.f() returns setof users language sql security definer
        return (select u from users u)""",
    "a temporary function": """create function pg_temp.tell(text) returns boolean language plpgsql
        cost 0.0000001 as $$ begin raise notice '%', $1; return true; end $$;
        select 1 from photos where pg_temp.tell(file_url)""",
    "an operator": """create operator public.=== (function = texteq, leftarg = text, rightarg = text);
        select * from photos where file_url operator(public.===) 'x'""",
    "a type": "create type public.t as (i integer)",
    "a domain": "create domain public.d as text check (value <> 'x')",
    "a cast": "create cast (text as bigint) with inout as implicit",
    "an aggregate": "create aggregate public.a (text) (sfunc = textcat, stype = text)",
    "a collation": "create collation public.c (provider = icu, locale = 'en')",
    "a schema": "create schema mine",
    "a publication": "create publication p for table photos",
    "a subscription": "create subscription s connection 'host=localhost' publication p",
    "an event trigger": "create event trigger e on ddl_command_end execute function f()",
    "a foreign server": "create server s foreign data wrapper postgres_fdw",
    "an index": "create index on photos (file_url)",
    "statistics": "create statistics public.s on user_id, file_url from photos",
    "a comment": "comment on table photos is 'x'",
    "a large object of a file": "select lo_import('/etc/passwd')",
    "a large object to a file": "select lo_export(lo_create(0), '/tmp/visiona-hostile')",
    "large objects": "select * from pg_largeobject",
    "a file": "select pg_read_file('PG_VERSION')",
    "a folder": "select * from pg_ls_dir('.')",
    "copy out": "copy photos to stdout",
    "copy a query out": "copy (select * from users) to stdout",
    "copy to a program": "copy photos to program 'cat'",
    "copy to a file": "copy (select 1) to '/tmp/visiona-hostile'",
    "copy from a file": "copy photos (file_url) from '/etc/passwd'",
    "copy in": "copy photos (user_id, width) from stdin",
    "dblink": "select * from dblink('dbname=postgres', 'select 1') as t(i integer)",
    "samples": "select * from pg_stats where tablename in ('users', 'photos', 'runs', 'sessions')",
    "samples at their source": "select * from pg_statistic",
    "samples of several columns": "select * from pg_stats_ext; select * from pg_stats_ext_exprs",
    "samples of several columns at their source": "select * from pg_statistic_ext_data",
    "what others run": "select * from pg_stat_activity; select * from pg_prepared_statements",
    "what others hold": "select * from pg_locks; select * from pg_cursors; select * from pg_prepared_xacts",
    "what others ran": "select * from pg_stat_statements",
    "passwords": "select * from pg_authid",
    "user mappings": "select * from pg_user_mappings; select * from pg_user_mapping",
    "who may log in": "select * from pg_hba_file_rules",
    "settings": "select * from pg_settings; select * from pg_file_settings",
    "the last number": "select lastval()",
    "the last number of a table": "select currval('photos_id_seq')",
    "the last number of all": "select pg_sequence_last_value('photos_id_seq')",
    "the next number": "select nextval('photos_id_seq')",
    "numbers set back": "select setval('photos_id_seq', 1)",
    "a sequence": "select * from photos_id_seq",
    "the write-ahead log": "select pg_current_wal_lsn(), pg_logical_slot_peek_changes('x', null, null)",
    "a replication slot": "select pg_create_logical_replication_slot('x', 'test_decoding')",
    "the queue": "select * from procrastinate.procrastinate_jobs where queue_name <> 'parked'",
    "a function for triggers": "select visiona.write_ledger()",
    "errors that tell": "select file_url::integer from photos",
    "errors that divide": "select 1 / (user_id - <bob>) from photos",
    "errors before the filter": "select * from photos where file_url::integer = 1 or user_id = <bob>",
    "errors in an index": """select * from runs
        where convert_from(inputs, 'UTF8')::integer = 1 / (user_id - <bob>)""",
    "errors of a constraint": "select convert_from(prompt, 'UTF8')::jsonb from runs where user_id <> <alice>",
    "a loop that raises": """do $$ declare r record; begin
        for r in select * from users where id <> <alice> loop raise exception '%', r; end loop; end $$""",
    "everybody's triggers": "select * from information_schema.triggers, information_schema.table_constraints",
}

# Changing it, or tying one's own to it.

WRITINGS = {
    "update": "update sessions set revoked_at = now() where user_id = <bob>",
    "update without where": "update trainings set cancel_requested_at = now()",
    "update returning": "update runs set cancel_requested_at = now() returning *",
    "update from": "update checkouts c set state = 'failed' from users u where c.user_id <> u.id",
    "delete": "delete from photos where id = <bob_photo>",
    "delete without where": "delete from generations",
    "delete returning": "delete from models where user_id <> <alice> returning *",
    "delete using": "delete from photos p using users u where p.user_id <> u.id",
    "merge": """merge into photos p using (values (<bob>)) v(i) on p.user_id = v.i
        when matched then delete when not matched then do nothing""",
    "merge that inserts": """merge into pending_objects p using (values (<bob>)) v(i) on p.user_id = v.i
        when not matched then insert (key, user_id) values ('u<bob>/x', <bob>)""",
    "a row of another's": "insert into pending_objects (key, user_id) values ('u<bob>/x', <bob>)",
    "an own row about another's bytes": """insert into pending_objects (key, user_id)
        values ('u<bob>/photos/1.jpg', <alice>)""",
    "an own photo of another's bytes": """insert into photos
        (user_id, consent_id, file_url, thumbnail_url, width, height, size, sha256)
        values (<alice>, (select id from consents where user_id = <alice> limit 1),
          'u<bob>/photos/1.jpg', 'u<bob>/photos/1.webp', 1, 1, 1, repeat('x', 64))""",
    "a photo for another": """insert into photos
        (user_id, file_url, thumbnail_url, width, height, size, sha256)
        values (<bob>, 'u<bob>/photos/x', 'u<bob>/photos/y', 1, 1, 1, repeat('x', 64))""",
    "on conflict": """insert into idempotency_keys (user_id, key, operation, request_hash)
        values (<bob>, 'key', 'x', '') on conflict (user_id, key) do update set result_id = 1""",
    "a moved row": "update idempotency_keys set user_id = <bob>",
    "a moved link": "update email_links set user_id = <bob>",
    "a moved photo": "update photos set user_id = <bob>",
    "another's photo in an own clone": """insert into model_photos
        values (<alice>, <alice_model>, <bob_photo>)""",
    "an own photo in another's clone": """insert into model_photos
        values (<alice>, <bob_model>, <alice_photo>)""",
    "an own photo in a clone for another": """insert into model_photos
        values (<bob>, <bob_model>, <bob_spare_photo>)""",
    "a training of another's clone": """insert into trainings (user_id, model_id, quota_period)
        values (<alice>, <bob_spare_model>, now())""",
    "a training for another": """insert into trainings (user_id, model_id, quota_period)
        values (<bob>, <bob_spare_model>, now())""",
    "a run of another's clone": """insert into runs (user_id, model_id, version, trigger_word, prompt,
          enhance, inputs, num_outputs, quota_period)
        select <alice>, <bob_model>, 'version-of-<bob>', <sealed>, <sealed>, false, <sealed>, 1, period_start
        from quota_usage where resource = 'images'""",
    "a run of another's weights": """insert into runs (user_id, model_id, version, trigger_word, prompt,
          enhance, inputs, num_outputs, quota_period)
        select <alice>, <alice_model>, 'version-of-<bob>', <sealed>, <sealed>, false, <sealed>, 1,
          period_start from quota_usage where resource = 'images'""",
    "an image in another's run": """insert into generations (user_id, model_id, run_id, position, prompt,
          image_url, thumbnail_url, content_type, width, height, size, sha256, parameters)
        values (<alice>, null, <bob_run>, 2, <sealed>, 'u<alice>/x', 'u<alice>/y', 'image/webp', 1, 1, 1,
          repeat('x', 64), <sealed>)""",
    "a recovery code for another": """insert into recovery_codes (user_id, code_hash)
        values (<bob>, sha256('x'))""",
    "a passkey for another": """insert into passkeys (user_id, credential_id, public_key, name, aaguid)
        values (<bob>, sha256('x'), 'x', <sealed>, gen_random_uuid())""",
    "an authenticator for another": """insert into totp_secrets (user_id, secret)
        values (<bob>, <sealed>)
        on conflict (user_id) do update set secret = excluded.secret""",
    "another's authenticator removed": "delete from totp_secrets where user_id = <bob>",
    "a challenge for another": """insert into passkey_challenges (challenge_hash, user_id, expires_at)
        values (sha256('x'), <bob>, now())""",
    "a link for another": """insert into email_links (id, user_id, purpose, address, expires_at)
        values ('<random>', <bob>, 'reset', <sealed>, now() + interval '1 hour')""",
    "a mail to another": "insert into mails (id, user_id, kind) values ('<random>', <bob>, 'x')",
    "another's link to an own address": """insert into mails (id, user_id, kind, address, reference)
        values ('<random>', <alice>, 'reset_password', <sealed>, '<bob_link>')""",
    "another's link to the own account": """insert into mails (id, user_id, kind, reference)
        values ('<random>', <alice>, 'reset_password', '<bob_link>')""",
    "a link for another address, to the own": """
        insert into email_links (id, user_id, purpose, address, expires_at)
        values ('<bob_link>', <alice>, 'verify', '<bob_email>', now() + interval '1 hour');
        insert into mails (id, user_id, kind, reference)
        values ('<random>', <alice>, 'verify_address', '<bob_link>')""",
    "an audit entry for another": """insert into audit_logs (user_id, action)
        values (<bob>, 'account.created')""",
    "an audit entry for nobody": "insert into audit_logs (user_id, action) values (null, 'x')",
    "an audit entry changed": "update audit_logs set action = 'x' where user_id = <bob>",
    "an audit entry removed": "delete from audit_logs where user_id = <bob>",
    "an entitlement": "insert into entitlements (user_id, plan) values (<bob>, 'premium')",
    "a quota for another": """insert into quota_usage (user_id, resource, period_start, period_end, plan,
        entitled) values (<bob>, 'images', date_trunc('month', now(), 'UTC'), now() + '1 day', 'free', 0)""",
    "another's quota used up": "update quota_usage set reserved = entitled where user_id = <bob>",
    "another's customer": "insert into payment_customers (user_id, mode) values (<bob>, 'live')",
    "another's attempt counted": "update payment_customers set attempt = attempt + 1 where user_id = <bob>",
    "a session for another": """insert into sessions (id, user_id, secret_hash, expires_at)
        values ('<random>', <bob>, sha256('x'), now() + interval '1 day')""",
    "a session prolonged": "update sessions set expires_at = now() + interval '1 year'",
    "an administrator made": "update users set role = 'admin' where id = <alice>",
    "another's address": "update users set email = <sealed> where id = <bob>",
    "a receipt": "insert into webhook_receipts (provider, external_id, topic, reference) "
    "values ('stripe', 'evt_1', 'account', '{\"user\": <bob>}')",
    "a plan": "insert into plans (name, images, clones) values ('gift', 1, 1)",
    "a job in the queue": "insert into procrastinate.procrastinate_jobs (queue_name, task_name, args) "
    "values ('parked', 'x', '{\"user_id\": <bob>}')",
}

# The functions that run as another role, called with another's key. One that the application may
# execute and that has no line here fails.

CALLS = {
    "add_api_key": "select visiona.add_api_key(<sealed>, 'vsk_' || repeat('x', 22), sha256('x'), "
    "array['photos:read'], now() + interval '1 day') where visiona.uid() is distinct from <alice>",
    "adopt": "select visiona.adopt('<bob_subject>', <bob>, <sealed>, sha256('x'), true, true, 9)",
    "base_limit": "select visiona.base_limit('images')",
    "challenge": "select visiona.challenge()",
    "claims": "select visiona.claims()",
    "count_attempt": "select visiona.count_attempt(sha256('payments:page:<bob>'), 100, 1)",
    "count_visit": "select visiona.count_visit('<bob>', 100, 1)",
    "enqueue": """select visiona.enqueue('generations.submit',
        '{"user_id": <bob>, "run_id": <bob_run>}', true)""",
    "find_credentials": "select * from visiona.find_credentials(decode('<bob_index>', 'hex'))",
    "count_refusal": "select visiona.count_refusal('minors') where visiona.uid() is distinct from <alice>",
    "dismiss_report": "select visiona.dismiss_report(id) from generate_series(1, 20) as reports (id)",
    "erasures_open": "select * from visiona.erasures_open(null, 100)",
    "erasures_over": "select * from visiona.erasures_over(null, 100)",
    "find_receipt": "select * from visiona.find_receipt('<random>')",
    "look_at_report": "select visiona.look_at_report(id) from generate_series(1, 20) as reports (id)",
    "order_erasure": "select visiona.order_erasure(<bob>, '<random>', now(), '\\xf8')",
    "refusals": "select * from visiona.refusals(100)",
    "report_image": "select visiona.report_image('u<bob>/images/0', '', 'other', sha256('case'))",
    "report_state": "select * from visiona.report_state(sha256('case'))",
    "reported_image": "select * from generate_series(1, 20) as r (id), visiona.reported_image(r.id)",
    "reports_decided": "select * from visiona.reports_decided(null, 100)",
    "reports_waiting": "select * from visiona.reports_waiting(100)",
    "reserve_cost": "select visiona.reserve_cost('run:<bob_run>', 1, 100, 1000)",
    "settle_cost": "select visiona.settle_cost('run:<bob_run>', 1)",
    "take_down": "select visiona.take_down(id) from generate_series(1, 20) as reports (id)",
    "use_allowance": "select visiona.use_allowance(sha256('sign-up'), 1, 60, 1)",
    "consent_version": "select visiona.consent_version()",
    "is_released": "select visiona.is_released(id) from consents where user_id = <bob>",
    "find_consent": "select * from visiona.find_consent('<random>')",
    "give_consent": "select visiona.give_consent('<random>', '2026-11-23', '\\xab', '\\xf8', '\\xf8')",
    "end_consent": "select visiona.end_consent('<random>')",
    "find_email_link": "select * from visiona.find_email_link('<random>')",
    "find_passkey": "select * from visiona.find_passkey(sha256('x'))",
    "find_session": "select * from visiona.find_session('<random>', sha256('x'))",
    "find_subject": "select * from visiona.find_subject('<bob_subject>', null)",
    "forget_attempts": "select visiona.forget_attempts(sha256('payments:page:<bob>'))",
    "is_admin": "select visiona.is_admin()",
    "is_covered": "select visiona.is_covered('images', now(), 1)",
    "is_system": "select visiona.is_system()",
    "looks_up": "select visiona.looks_up('<bob_index>')",
    "next_user_id": "select visiona.next_user_id() = <bob>",
    "open_session": "select visiona.open_session('<random>', sha256('<random>'), null, now(), null) "
    "where visiona.uid() is distinct from <alice>",
    "own_password": "select visiona.own_password() = 'argon2 of <bob>'",
    "rehash": "select visiona.rehash(<bob>, 'argon2 of <bob>', 'x')",
    "set_address": "select visiona.set_address(<sealed>, decode('<bob_index>', 'hex'))",
    "set_password": "select visiona.own_password() where visiona.uid() = <bob>",
    "sign_up": "select visiona.sign_up(<bob>, 'x', <sealed>, decode('<bob_index>', 'hex'), 'x')",
    "take_back_attempt": "select visiona.take_back_attempt(sha256('payments:page:<bob>'))",
    "uid": "select visiona.uid()",
    "use_api_key": "select * from visiona.use_api_key(sha256('x'))",
    "find_people": """select *
        from visiona.find_people('newest', decode('<bob_index>', 'hex'), <bob>, '<bob_subject>', null, 9)""",
    "audit_entries": """select * from visiona.audit_entries(<bob>, null, null, null, null, 9)
        union all select * from visiona.audit_entries(null, null, null, null, null, 9)""",
    "audit_part": "select visiona.audit_part('x'::text)",
    "audit_person": "select visiona.audit_person('x', <bob>)",
    "audit_lock": "select pg_advisory_xact_lock(visiona.audit_lock())",
    "audit_origin": "select visiona.audit_origin()",
    "audit_guard": "select visiona.audit_guard()",
    "chain_audit": "select visiona.chain_audit(9)",
    "forget_in_audit": "select visiona.forget_in_audit(<bob>)",
    "look_at_log": "select visiona.look_at_log()",
    "look_at": "select visiona.look_at(<bob>, true)",
    "person_record": "select visiona.person_record(<bob>)",
    "person_content": "select * from visiona.person_content(<bob>, null, 9)",
    "suspend": "select visiona.suspend(<bob>, '\\xf8')",
    "unsuspend": "select visiona.unsuspend(<bob>, '\\xf8')",
    "end_sessions": "select visiona.end_sessions(<bob>, '\\xf8')",
    "order_plan": "select visiona.order_plan(<bob>, 'premium', '\\xf8')",
}

ATTACKS = {
    f"{kind}: {name}": statement
    for kind, attacks in (
        ("identity", IDENTITIES),
        ("reading", READINGS),
        ("writing", WRITINGS),
        ("call", CALLS),
    )
    for name, statement in attacks.items()
}
