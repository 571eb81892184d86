"""PostgreSQL: pool, transactions with an identity, jobs, events, migrations. The only driver is psycopg 3."""
