-- A column that is named like a secret and that somebody with a token may read.
select format('%s.%s', c.oid::regclass, a.attname)
from pg_class c
join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where c.relnamespace::regnamespace::text in ('public', 'visiona', 'procrastinate')
  and has_column_privilege('authenticated', c.oid, a.attnum, 'select')
  and a.attname ~ '(password|secret|token|hash|api_?key|otp|credential|card|iban|ssn|fingerprint|biometric)'
