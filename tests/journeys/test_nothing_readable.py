"""No word of a person and no secret can be read in the database, in a log, at Sentry or of a process."""

import json
import re
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import psycopg
import pytest
from tests.conftest import copied_database
from tests.factories.canaries import Watch, canary, columns_of, disguises
from tests.factories.keys import MASTER_KEY
from tests.factories.sentry import DSN_KEY, Sink, listening
from tests.journeys.conftest import (
    MAIL_KEY,
    PASSWORD,
    ROOT,
    SECRET_KEY,
    STRIPE_WEBHOOK_SECRET,
    WEBHOOK_SECRET,
    Person,
    Stack,
    running_stack,
    wait_until,
)

from visiona.db.roles import APP_ROLE, WORKER_ROLE, derived_password
from visiona.settings import CLERK_WEBHOOK_PATH, REPLICATE_WEBHOOK_PATH, STRIPE_WEBHOOK_PATH

pytestmark = pytest.mark.journey

# What a process is told that nobody else may know.
SECRETS = {
    "the secret key": SECRET_KEY,
    "the master key": MASTER_KEY,
    "the token of Replicate": "r8_sandbox",
    "the secret of Replicate's webhooks": WEBHOOK_SECRET,
    "the key of OpenAI": "sk-sandbox",
    "the key of Anthropic": "sk-ant-sandbox",
    "the key of Stripe": "sk_test_sandbox",
    "the secret of Stripe's webhooks": STRIPE_WEBHOOK_SECRET,
    "the password of the mail server": MAIL_KEY,
    "the key of Sentry": DSN_KEY,
    "the application's password at the database": derived_password(SECRET_KEY.encode(), APP_ROLE),
    "the worker's password at the database": derived_password(SECRET_KEY.encode(), WORKER_ROLE),
}

# Requests with these change whose session it is, or do not end.
_LEFT_OUT = {"/api/events", "/api/auth/logout"}


@dataclass
class Said:
    """A person who has said things, on a stack of their own; `words` are what and how."""

    stack: Stack
    person: Person
    model_id: int
    words: dict[str, str]
    sentry: Sink
    errors: list[int] = field(default_factory=list)

    def watch(self) -> Watch:
        return Watch(self.words)


# Jobs that are done are deleted: what the queue was told is kept beside it.
_KEEP_JOBS = """
create table kept_jobs (task text, args jsonb);
create function keep_job() returns trigger language plpgsql security definer as $$
begin
  insert into public.kept_jobs values (new.task_name, new.args);
  return null;
end $$;
create trigger keep_jobs after insert on procrastinate.procrastinate_jobs
  for each row execute function keep_job();
"""


@pytest.fixture(scope="module")
def said(
    postgres: str, migrated_template: str, tmp_path_factory: pytest.TempPathFactory, grace: list[Path]
) -> Generator[Said]:
    """Signed up, photos uploaded, a clone trained with words of their own, images made: by real processes."""
    folder = tmp_path_factory.mktemp("nothing-readable")
    with (
        copied_database(postgres, migrated_template) as url,
        listening() as sentry,
        running_stack(
            url, folder, VISIONA_SANDBOX_TRAINING_SECONDS="0.5", VISIONA_SENTRY_DSN=sentry.dsn
        ) as stack,
    ):
        with psycopg.connect(url, autocommit=True) as owner:
            owner.execute(_KEEP_JOBS)
        person = Person(stack, f"{canary('address')}@example.com")
        try:
            yield _speak(stack, person, grace, sentry)
        finally:
            person.close()


def _speak(stack: Stack, person: Person, photos: list[Path], sentry: Sink) -> Said:
    words = {kind: canary(kind) for kind in ("trigger", "prompt", "reworked", "caption", "refusal", "client")}
    person.http.headers["User-Agent"] = words["client"]
    person.upload(photos)
    said = {"autocaption_prefix": words["caption"]}
    model_id = person.trained(person.train(words["trigger"], parameters=said)["id"])["id"]
    plain = person.finished(person.generate(model_id, f"{words['prompt']} by the sea", num_outputs=2)["id"])
    assert plain["status"] == "succeeded", plain
    reworked = person.finished(person.generate(model_id, f"{words['reworked']} at sea", enhance=True)["id"])
    assert reworked["enhancement"]["outcome"] == "enhanced", reworked
    assert words["trigger"] in reworked["enhanced_prompt"]
    stack.faults({"kind": "fail_training", "text": f"cannot read {words['refusal']}"})
    failed = person.trained(person.train(words["trigger"])["id"])
    assert words["refusal"] in failed["error"]["message"]
    # What the person reads is what they wrote.
    seen = person.gallery()
    assert {image["prompt"] for image in seen} == {plain["prompt"], reworked["prompt"]}
    assert {image["enhanced_prompt"] for image in seen} == {None, reworked["enhanced_prompt"]}
    assert person.model(model_id)["parameters"]["autocaption_prefix"] == words["caption"]
    return Said(
        stack,
        person,
        model_id,
        {
            **words,
            "what was made of a prompt": reworked["enhanced_prompt"][:60],
            "the address": person.email.partition("@")[0],
            "the password": PASSWORD,
            **_held(person, seen[0]["image_url"], stack),
        },
        sentry,
    )


def _held(person: Person, link: str, stack: Stack) -> dict[str, str]:
    """What opens something of theirs to whoever has it."""
    key = person.http.post(
        "/api/keys", json={"name": "a program", "scopes": ["photos:read"], "expires_in_days": 1}
    )
    login = httpx.post(f"{stack.url}/api/auth/login", json={"email": person.email, "password": PASSWORD})
    httpx.post(f"{stack.url}/api/auth/reset", json={"email": person.email})
    (mail,) = wait_until(lambda: [m for m in stack.mails(person.email) if "reset" in str(m["links"])], 20)
    assert httpx.get(stack.url + link).status_code == 200
    outputs = stack.sandbox_state()["predictions"][-1]["output"]
    return {
        "the access token": person.http.headers["Authorization"].rpartition(".")[2],
        "an API key": key.json()["key"],
        "the session's cookie": max(login.cookies.values(), key=len).rpartition(".")[2],
        "the signature of a link": parse_qs(urlsplit(link).query)["signature"][0],
        "the link in a mail": urlsplit(mail["links"][0]).fragment or urlsplit(mail["links"][0]).query,
        "where a provider left an image": urlsplit(outputs[0]).path,
    }


def test_words_are_found_in_whatever_disguise(said: Said) -> None:
    """The scan's own proof: what is planted is found, in each form, in a column of any type."""
    with psycopg.connect(said.stack.owner_url) as connection:
        connection.execute("create table planted (form text, words text, bytes bytea, document jsonb)")
        for name, word in said.words.items():
            for form, written in disguises(word).items():
                text = written.decode() if written.isascii() and b"\0" not in written else None
                connection.execute(
                    "insert into planted values (%s, %s, %s, %s)",
                    [f"{name} ({form})", text, written, json.dumps({"x": word})],
                )
        found = said.watch().found_among(columns_of(connection))
        connection.rollback()
    columns = {place for place, _ in found if place.startswith("public.planted.")}
    assert columns == {f"public.planted.{column}" for column in ("words", "bytes", "document")}
    planted = {name for place, name in found if place == "public.planted.bytes"}
    assert planted >= {f"{name} ({form})" for name, word in said.words.items() for form in disguises(word)}


def test_the_database_holds_no_word_of_theirs(said: Said) -> None:
    """In no column of any table, the queue's included, though every one of these rows is there."""
    with psycopg.connect(said.stack.owner_url) as connection:
        for table, least in (
            ("runs", 2),
            ("generations", 3),
            ("models", 2),
            ("trainings", 2),
            ("photos", 12),
        ):
            counted = connection.execute(f"select count(*) from {table}").fetchone()  # type: ignore[arg-type] # above
            assert counted is not None
            assert counted[0] >= least, table
        assert said.watch().found_among(columns_of(connection)) == set()
        assert Watch(SECRETS).found_among(columns_of(connection)) == set()


def test_the_queue_and_plain_json_hold_names_of_things(said: Said) -> None:
    """Numbers, ids and codes: nothing in which there would be room for words."""
    with psycopg.connect(said.stack.owner_url) as connection:
        tasks = connection.execute("select count(distinct task), count(*) from kept_jobs").fetchone()
        assert tasks is not None
        assert tasks[0] >= 6
        assert tasks[1] >= 20
        for column in ("kept_jobs.args", "webhook_receipts.reference", "audit_logs.details", "mails.details"):
            table, _, name = column.partition(".")
            values = connection.execute(f"select {name} from {table} where {name} is not null").fetchall()  # type: ignore[arg-type] # above
            assert values, column
            assert {
                leaf for (value,) in values for leaf in _texts(value) if not _NAME.fullmatch(leaf)
            } == set()


_NAME = re.compile(r"[\w.:/-]+")


def _texts(value: Any) -> Iterator[str]:
    """Every text in a JSON document, names of its fields included."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
    elif isinstance(value, str):
        yield value


def test_five_hundred_errors_tell_no_log_anything(said: Said) -> None:
    """Of requests, jobs and providers, with secrets and words wherever a request can carry them."""
    stack, person = said.stack, said.person
    watched = {**said.words, **SECRETS, **CARRIED}
    assert len(set(watched.values())) >= 25
    watch = Watch(watched)
    said.errors += [status for status in _statuses(_bad_requests(said)) if status >= 400]
    said.errors += _errors_of_the_database(said)
    jobs = _errors_of_providers(said)
    stack.faults()
    assert jobs >= 8
    assert len(said.errors) + jobs >= 500
    assert said.errors.count(500) >= 20
    told = wait_until(lambda: len(said.sentry.bodies) >= 20 and b"\n".join(said.sentry.bodies), 10)
    assert {event["logger"].partition(".")[0] for event in said.sentry.events()} == {"visiona"}
    assert watch.found(told) <= {"the key of Sentry (raw)", "the key of Sentry (of an address)"}
    for name, failures in (("serve", 20), ("worker", 2)):
        log = stack.log(name).encode()
        assert log.count(b"Traceback") >= failures, f"{name}: they are to be on record"
        assert watch.found(log) == set(), name
        assert watch.found(log + said.words["prompt"].encode()) == {"prompt (raw)", "prompt (of an address)"}
    with psycopg.connect(stack.owner_url) as connection:
        assert watch.found_among(columns_of(connection)) == set()
        (path,) = connection.execute("select current_setting('data_directory')").fetchone() or ("",)
    server_log = Path(path, "log").read_bytes()
    assert server_log.count(b'violates check constraint "forced"') >= 20
    assert watch.found(server_log) == set()
    for process in stack.processes.values():
        line = Path(f"/proc/{process.pid}/cmdline")
        if line.exists():
            assert watch.found(line.read_bytes()) == set()
    assert person.http.get("/api/auth/me").status_code == 200, "and Visiona goes on"


# What a request of somebody else carries, wherever there is room.
CARRIED = {
    name: canary(name.replace(" ", ""))
    for name in (
        "a forged token",
        "a forged cookie",
        "a query",
        "a path",
        "a body",
        "a name of a field",
        "a file name",
        "a signature",
        "a referrer",
        "a password",
    )
}


def _bad_requests(said: Said) -> Iterator[httpx.Request]:
    """Each route of the API, asked wrongly in several ways; hooks and pages, too."""
    base = said.stack.url
    forged = {
        "Authorization": f"Bearer {CARRIED['a forged token']}",
        "Cookie": f"__Host-visiona={CARRIED['a forged cookie']}; visiona={CARRIED['a forged cookie']}",
        "Referer": f"{base}/{CARRIED['a referrer']}",
        "User-Agent": said.words["client"],
    }
    own = {"Authorization": said.person.http.headers["Authorization"], "User-Agent": said.words["client"]}
    body = {
        "email": f"{CARRIED['a body']}@",
        "password": CARRIED["a password"],
        "prompt": {"text": said.words["prompt"]},
        "trigger_word": f"{said.words['trigger']} !",
        "model_id": CARRIED["a body"],
        "code": CARRIED["a body"],
        "reason": CARRIED["a body"],
        CARRIED["a name of a field"]: CARRIED["a body"],
    }
    routes = json.loads((ROOT / "docs" / "openapi.json").read_text(encoding="utf-8"))["paths"]
    for path, methods in routes.items():
        if path in _LEFT_OUT:
            continue
        url = base + path.replace("{", "9").replace("}", "9")
        for method in {name.upper() for name in methods} & {"GET", "POST", "PATCH", "DELETE"}:
            query = {"cursor": CARRIED["a query"], "email": CARRIED["a query"]}
            yield httpx.Request(method, url, params=query, headers=forged, json=body)
            yield httpx.Request(method, f"{url}/{CARRIED['a path']}", headers=forged)
            if method == "GET":
                yield httpx.Request(method, url + "/9", params=query, headers=own)
                continue
            yield httpx.Request(method, url, params=query, headers=own, json=body)
            yield httpx.Request(method, url, headers=own, content=json.dumps(body)[:-9].encode())
            yield httpx.Request(
                method, url, headers=own, files={"photos": (f"{CARRIED['a file name']}.jpg", b"no picture")}
            )
            yield httpx.Request(method, f"{url}/{CARRIED['a path']}", headers=own, json=body)
    signed = {
        "stripe-signature": f"t=1,v1={CARRIED['a signature']}",
        "webhook-signature": f"v1,{CARRIED['a signature']}",
        "svix-signature": f"v1,{CARRIED['a signature']}",
    }
    for path in (REPLICATE_WEBHOOK_PATH, STRIPE_WEBHOOK_PATH, CLERK_WEBHOOK_PATH):
        yield httpx.Request("POST", base + path, headers=signed, json=body)
    key = f"/media/u1/images/{CARRIED['a path']}.webp"
    for number in range(20):
        signature = {"expires": str(number), "signature": said.words["the signature of a link"]}
        yield httpx.Request("GET", base + key, params=signature)


def _statuses(requests: Iterable[httpx.Request]) -> list[int]:
    with httpx.Client(timeout=60) as client, ThreadPoolExecutor(4) as pool:
        return list(pool.map(lambda request: client.send(request).status_code, requests))


@contextmanager
def _refusing(stack: Stack, *tables: str) -> Iterator[None]:
    """The database turns away every new row of these tables, and quotes it in its error."""
    with psycopg.connect(stack.owner_url, autocommit=True) as owner:
        for table in tables:
            owner.execute(f"alter table {table} add constraint forced check (false) not valid")  # type: ignore[arg-type] # names of ours
        try:
            yield
        finally:
            for table in tables:
                owner.execute(f"alter table {table} drop constraint forced")  # type: ignore[arg-type] # as above


def _errors_of_the_database(said: Said) -> list[int]:
    person, http = said.person, said.person.http
    wish = {"model_id": said.model_id, "prompt": said.words["prompt"]}
    training = {"trigger_word": said.words["trigger"]}
    found: list[int] = []
    with _refusing(said.stack, "runs", "models", "sessions", "api_keys", "email_links"):
        for _ in range(50):
            found.append(http.post("/api/generate", json=wish).status_code)
            found.append(http.post("/api/models/train", json=training).status_code)
        for path, body in (
            ("/api/auth/login", {"email": person.email, "password": PASSWORD}),
            ("/api/auth/reset", {"email": person.email}),
            ("/api/keys", {"name": said.words["prompt"], "scopes": ["photos:read"], "expires_in_days": 1}),
            ("/api/auth/signup", {"email": f"{CARRIED['a body']}@example.com", "password": PASSWORD}),
        ):
            found += [http.post(path, json=body).status_code for _ in range(3)]
    return [status for status in found if status >= 400]


def _errors_of_providers(said: Said) -> int:
    """How often work came to nothing, or was given up for the moment, by the worker."""
    stack, person = said.stack, said.person
    words = f"{said.words['prompt']} {said.words['refusal']} {SECRETS['the token of Replicate']}"
    llm = f"{stack.llm_url}/_sandbox/faults"
    for fault in ("server_error", "refusal", "invalid_json", "html_502"):
        for provider in ("openai", "anthropic"):
            httpx.post(llm, json={"provider": provider, "fault": fault}).raise_for_status()
    quoting = {"detail": words, "title": words, "status": 422, "prompt": words}
    looks = {
        "method": "GET",
        "path": "/v1/predictions/*",
    }  # at a creation it would be a minute until the next try
    stack.faults(
        {"kind": "refuse", "status": 422, "body": quoting, "times": 4, "path": "/v1/predictions"},
        {"kind": "http_error", "status": 500, "text": words, "times": 3, **looks},
        {"kind": "html", **looks},
        {"kind": "truncated_json", **looks},
        {"kind": "fail_prediction", "text": words},
    )
    prompts = [f"{said.words['prompt']} number {number}" for number in range(10)]
    runs = [person.generate(said.model_id, prompt, enhance=True)["id"] for prompt in prompts]
    ended = [person.finished(run_id) for run_id in runs]
    with _refusing(stack, "generations"):
        stuck = person.generate(said.model_id, said.words["prompt"])["id"]
        wait_until(lambda: stack.log("worker").count("CheckViolation") >= 2, 30)
    assert person.finished(stuck)["status"] == "succeeded"
    failed = sum(run["status"] == "failed" for run in ended)
    unworked = sum(run["enhancement"]["outcome"] != "enhanced" for run in ended)
    return failed + unworked + stack.log("worker").count("CheckViolation")
