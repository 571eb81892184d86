"""What stands in a setting that cannot be read is not repeated, by us or by the database's library."""

import psycopg
import pytest

from visiona.settings import SettingsError, read_settings

WORD = "kanarie7391"
REFUSED = [
    WORD,
    f"postgres:/u:{WORD}@host",
    f"host=127.0.0.1 password={WORD} bogus",
    f"postgresql://u:{WORD}@127.0.0.1:port/x",
    f"postgresql://u:{WORD}%zz@127.0.0.1/x",
    f"postgresql://u:{WORD}@[::1]x/x",
    f"postgresql://u:{WORD}@[::1/x",
    f"mysql://u:{WORD}@127.0.0.1/x",
]
READ = [
    "postgresql://u:p@127.0.0.1:5432/x",
    "postgres://u@db.example.com/x?sslmode=verify-full&sslrootcert=system",
    "postgresql:///x?host=/run/postgresql",
    "postgresql://u:p%25%40@[::1]:5432,other:5433/x",
    "postgresql://",
    "postgresql://u:a:b#c?d@h/x",
]


@pytest.mark.parametrize("name", ["DATABASE_URL", "APP_DATABASE_URL", "WORKER_DATABASE_URL"])
@pytest.mark.parametrize("url", REFUSED)
def test_an_address_of_a_database_that_cannot_be_read_is_not_repeated(name: str, url: str) -> None:
    with pytest.raises(SettingsError, match=f"^VISIONA_{name} ") as refused:
        read_settings({f"VISIONA_{name}": url})
    assert WORD not in str(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize("url", READ)
def test_what_postgresql_reads_is_read(url: str) -> None:
    """The control: the library takes the same."""
    psycopg.conninfo.conninfo_to_dict(url)
    assert read_settings({"VISIONA_DATABASE_URL": url}).database_url == url


def test_the_library_would_have_repeated_it() -> None:
    with pytest.raises(psycopg.ProgrammingError, match=WORD):
        psycopg.conninfo.conninfo_to_dict(f"postgresql://u:{WORD}%zz@127.0.0.1/x")


def test_settings_show_no_secret() -> None:
    """Whatever a later release adds: what is secret by its name is not in the settings' own text."""
    secret = ("key", "secret", "token", "password", "dsn", "smtp", "database_url")
    names = [name for name in read_settings({}).__dataclass_fields__ if any(part in name for part in secret)]
    plain = {"clerk_publishable_key", "keys_url", "keys_mirror_url"}
    shown = [name for name in names if read_settings({}).__dataclass_fields__[name].repr]
    assert set(shown) <= plain, shown
