"""Everything that a running Visiona has written, and reading it."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg
from tests.factories.canaries import columns_of
from tests.journeys.conftest import SANDBOX_AUTHORIZATION, STRIPE_AUTHORIZATION, Stack, wait_until
from tests.scanner.needles import Needles
from tests.scanner.people import NOT_COPIED, Planted, opened
from tests.scanner.scanning import Finding, Scan

from visiona.settings import Settings

PROVIDERS = "sandbox"
"""The folder of what other firms have, where they are simulated."""


@dataclass(frozen=True, slots=True)
class Places:
    """`server` is the database server's folder, `log` its finished log, where it is kept. Of a server that
    others use too, only the database at `url` is read, what was written `since`, and the log from its file
    `first` on.
    """

    url: str
    server: Path
    data: Path
    backups: Path | None = None
    log: Path | None = None
    first: str = ""
    since: float = 0

    def scan(self, needles: Needles) -> Scan:
        """What is found by whoever has no key, but for what other firms have."""
        scan = Scan(needles)
        with psycopg.connect(self.url, autocommit=True) as connection:
            for place, value in columns_of(connection):
                scan.data(place, value)
            connection.execute("checkpoint")
            row = connection.execute(
                "select oid from pg_database where datname = current_database()"
            ).fetchone()
        assert row is not None
        databases = (f"base/{row[0]}", "global", "log") if self.first else (".",)
        for name in databases:
            path = self.server / name
            if path.is_dir():
                scan.folder(path, f"server/{name}", server=True, skip=("pg_wal",), since=self.since)
            elif path.exists():
                scan.file(path, f"server/{name}")
        finished = [] if self.log is None else sorted(self.log.glob("0*"))
        parts = [p for p in sorted((self.server / "pg_wal").glob("0*")) if p.name >= self.first]
        for part in [*finished, *parts]:
            scan.file(part, f"log/{part.name}", server=True)
        scan.log([*finished, *parts], "log")
        own = {path.name for path in (self.server, self.log) if path is not None and path.parent == self.data}
        scan.folder(self.data, "data", skip=(PROVIDERS, *own))
        if self.backups is not None:
            scan.folder(self.backups, "backups")
        return scan

    def scan_rows(self, needles: Needles) -> Scan:
        """What is found in rows that are there."""
        scan = Scan(needles)
        with psycopg.connect(self.url) as connection:
            for place, value in columns_of(connection):
                scan.data(place, value)
        return scan

    def scan_providers(self, needles: Needles) -> Scan:
        """What is found at other firms."""
        scan = Scan(needles)
        scan.folder(self.data / PROVIDERS, PROVIDERS)
        return scan


async def scan_with_keys(settings: Settings, needles: Needles) -> set[str]:
    """Names of what is found by whoever has all keys that there are."""
    scan = Scan(needles)
    async for place, data in opened(settings):
        scan.data(place, data)
    return {finding.name for finding in scan.findings}


async def assert_copied(settings: Settings, people: Iterable[Planted]) -> int:
    """All that is kept of whoever had a copy made is read in it with their key, and nothing of another.
    Answers how many copies there were.
    """
    everybody = list(people)
    copies = {one.names["object of a copy"]: one for one in everybody if "object of a copy" in one.names}
    needles, found = Needles(all_words(everybody, "kept")), 0
    async for place, data in opened(settings):
        if place in copies:
            scan = Scan(needles)
            scan.data(place, data)
            own = copies[place].words()
            expected = {name for name in own if name.partition(": ")[2] not in NOT_COPIED}
            assert {finding.name for finding in scan.findings} == expected, place
            found += 1
    assert found == len(copies)
    return found


def told(findings: Iterable[Finding]) -> dict[str, set[str]]:
    """Where each name was found."""
    found: dict[str, set[str]] = {}
    for finding in findings:
        found.setdefault(finding.name, set()).add(finding.place)
    return found


def all_words(people: Iterable[Planted], of: str) -> dict[str, str | bytes]:
    """What they said and are, by whose it is and what: `kept`, `passing` or `names`."""
    return {name: word for one in people for name, word in one.words(of=of).items()}


_PAYING = ("invoice", "charge", "payment_intent", "payment_method", "checkout.session", "subscription")
_FOR_DAYS = ("event", "_sandbox.idempotency")

LEFT_TO_OTHERS = {
    # Letters that were delivered: whose mailbox it is keeps them.
    "mail": {"address", "address to come"},
    # What was paid for what by whom, as the law demands; that a customer is deleted; and what is said of all
    # that until it expires.
    **{
        f"stripe/{kind}": {"customer", "subject", "address", "name on a card"} for kind in _PAYING + _FOR_DAYS
    },
    "stripe/customer": {"customer"},
    # What is said of an account that was there, until it expires.
    "clerk": {"subject", "address"},
    # Replicate offers no way to delete a training: only its version, its weights and the archive of photos.
    "jobs": {"training", "archive", "trigger word", "caption"},
}
"""What may be left at other firms, by where."""


def more_than_may_be_left(findings: Iterable[Finding]) -> set[tuple[str, str]]:
    """(where, what) at other firms."""
    return {(where, what) for where, what in elsewhere(findings) if what not in LEFT_TO_OTHERS.get(where, ())}


def elsewhere(findings: Iterable[Finding]) -> set[tuple[str, str]]:
    """(where, what) at other firms."""
    return {
        (one.place.removeprefix(f"{PROVIDERS}/").rpartition("/")[0], one.name.partition(": ")[2])
        for one in findings
    }


def erase(stack: Stack, people: Iterable[Planted], timeout_s: float) -> None:
    """They delete their accounts; until that is done."""
    for one in people:
        one.person.ask("DELETE", "/api/account")
    wait_until(lambda: not stack.rows("select 1 from erasures where state <> 'done'"), timeout_s)


def assert_gone_elsewhere(stack: Stack, people: Iterable[Planted]) -> None:
    """By asking other firms for what they had."""
    for one in people:
        customer = httpx.get(
            f"{stack.stripe_url}/v1/customers/{one.names['customer']}", headers=STRIPE_AUTHORIZATION
        ).json()
        assert customer.get("deleted") is True
        for path in (f"predictions/{one.names['prediction']}", f"files/{one.names['archive']}"):
            url = f"{stack.sandbox_url}/v1/{path}"
            # A version is deleted, and with it what it has made, a moment after that was accepted.
            wait_until(lambda url=url: httpx.get(url, headers=SANDBOX_AUTHORIZATION).status_code == 404, 20)
        if stack.hosted:
            assert one.names["subject"] not in {user["id"] for user in stack.clerk("/v1/users", "GET")}
