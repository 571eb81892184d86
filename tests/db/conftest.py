"""Two people with a row of each kind, and as many more as a test asks for."""

import uuid
from collections.abc import Generator
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg import sql
from tests.conftest import ROLE_SECRETS
from tests.factories.people import MakePerson, MakeUser, Person, insert_common_rows, insert_rows

from visiona.db.migrate import migrate

# What a project at Supabase has before anything of ours is in it.
_SUPABASE = """
do $$
declare
  name text;
begin
  foreach name in array array['anon', 'authenticated', 'service_role', 'authenticator'] loop
    if not exists (select from pg_roles where rolname = name) then
      execute format('create role %I noinherit', name);
    end if;
  end loop;
end $$;
alter role authenticator login password 'authenticator-password';
alter role service_role bypassrls;
grant anon, authenticated, service_role to authenticator;
grant usage on schema public to anon, authenticated, service_role;
alter default privileges in schema public grant all on tables to anon, authenticated, service_role;
alter default privileges in schema public grant all on functions to anon, authenticated, service_role;
alter default privileges in schema public grant all on sequences to anon, authenticated, service_role;
"""


@pytest.fixture(scope="session")
async def common_rows(owner_url: str) -> None:
    async with await psycopg.AsyncConnection.connect(owner_url, autocommit=True) as owner:
        await insert_common_rows(owner)


@pytest.fixture(scope="session")
async def make_person(owner_url: str, common_rows: None, make_user: MakeUser) -> MakePerson:
    """Each call answers somebody new who has a row of each kind; their plan is the premium one."""
    del common_rows

    async def make() -> Person:
        actor = await make_user()
        async with await psycopg.AsyncConnection.connect(owner_url, autocommit=True) as owner:
            return await insert_rows(owner, actor)

    return make


@pytest.fixture(scope="session")
async def alice(make_person: MakePerson) -> Person:
    return await make_person()


@pytest.fixture(scope="session")
async def bob(make_person: MakePerson) -> Person:
    return await make_person()


@pytest.fixture
async def carol(make_person: MakePerson) -> Person:
    """Somebody for one test alone."""
    return await make_person()


@pytest.fixture(scope="session")
def supabase_url(postgres: str, migrated_template: str) -> Generator[str]:
    """A database that was Supabase's before it was migrated, as superuser."""
    del migrated_template  # the roles of ours are made by one at a time
    name = f"supabase_{uuid.uuid4().hex}"
    url = urlunsplit(urlsplit(postgres)._replace(path=f"/{name}"))
    with psycopg.connect(postgres, autocommit=True) as server:
        server.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        try:
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(_SUPABASE)
            migrate(url, ROLE_SECRETS)
            yield url
        finally:
            server.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))
