"""Write docs/authorization.md from the table of access, or with --check say whether it is up to date."""

import difflib
import sys
from itertools import groupby
from pathlib import Path

from visiona.entrypoints.api.access import ACCESS, Access, Identity
from visiona.keys.model import DEFAULT_DAYS, KEPT_AFTER_END, KEYS_MAX, MAX_DAYS, Scope

TARGET = Path(__file__).parents[1] / "docs" / "authorization.md"

INTRODUCTION = """\
# Who may call what

Written by `make authorization` from `src/visiona/entrypoints/api/access.py`, the one table that decides;
`make check` holds the two together. A route without a row in it is refused with 403 `undeclared_route`.

Whoever may call a route sees and changes their own rows only: the database itself shows no others
([architecture](architecture.md)). Somebody else's photo, clone, run, image or invoice is answered
exactly like one that does not exist, with 404.

| Who | Meaning |
|---|---|
| anybody | Nobody has to be signed in. |
| signature | A provider's webhook, or a link to an object: the handler checks the signature. |
| person | Somebody who is signed in, by a bearer token or by the browser's cookie. |
| person or key | The same, or a program of theirs with an API key that has the scope. |
| page | Somebody who is signed in; others are led to the log-in page. |
| visitor | Anybody; the page knows who is signed in. |

Who is not signed in, or shows a token that is not valid, is refused with 401. What is for administrators
is to everybody else who is signed in no address at all: 404 `not_found`. Everything else is a 403:
`account_suspended`, `insufficient_scope` for a key without the scope, `session_required` for a key where
only a person may ask, and `confirmation_required` where the session has to be fresh, which means that its
person has shown recently who they are. What a page of another site
sends along with the browser's cookie, or as a log-in, is refused with `origin_mismatch`.
"""

KEYS = f"""\
## API keys

A program of a person's shows an API key instead of a session: `Authorization: Bearer vsk_...`, or
`VISIONA_TOKEN` for the commands. The person makes it with `POST /api/keys` or `visiona keys create`, says
what it is for and for how long ({DEFAULT_DAYS} days unless they say otherwise, {MAX_DAYS} at most), and
sees it this once: the database has only its SHA-256. `visiona keys list` shows when each was last used;
one that was revoked or has expired opens nothing from that moment, and stays in the list for
{KEPT_AFTER_END.days} days. Nobody has more than {KEYS_MAX} that live.

A key makes no keys, changes no account, ends no session and pays for nothing, whatever its scopes.
It reads `vsk_`, 22 letters and digits by which it is known in the list, an underscore, 43 that are the
secret of 256 random bits, an underscore, and a checksum of 6, so that scanners of secrets find it:
`vsk_[0-9A-Za-z]{{22}}_[0-9A-Za-z]{{43}}_[0-9A-Za-z]{{6}}`.
"""

WHO = {
    Identity.PUBLIC: "anybody",
    Identity.SIGNED: "signature",
    Identity.PERSON: "person",
    Identity.USER: "person or key",
    Identity.PAGE: "page",
    Identity.VISITOR: "visitor",
}


def document() -> str:
    parts = [INTRODUCTION, KEYS, "## What each scope opens\n", _scopes()]
    rows = {"API": [], "Pages and files": []}
    for name, access in ACCESS.items():
        api = name.partition(" ")[2].startswith(("/api/", "/.well-known/", "/healthz", "/readyz"))
        rows["API" if api else "Pages and files"].append((name, access))
    for heading, named in rows.items():
        parts += [f"## {heading}\n", _table(named)]
    return "\n".join(parts)


def _scopes() -> str:
    by_scope = sorted(
        ((access.scope, name) for name, access in ACCESS.items() if access.scope is not None),
        key=lambda pair: list(Scope).index(pair[0]),
    )
    lines = ["| Scope | Routes |", "|---|---|"]
    for scope, pairs in groupby(by_scope, key=lambda pair: pair[0]):
        lines.append(f"| `{scope}` | {', '.join(f'`{name}`' for _, name in pairs)} |")
    return "\n".join(lines) + "\n"


def _table(rows: list[tuple[str, Access]]) -> str:
    lines = ["| Route | Who | Scope of a key | Role | Fresh | Suspended too |", "|---|---|---|---|---|---|"]
    for name, access in rows:
        scope = f"`{access.scope}`" if access.scope else ""
        fresh, suspended = ("yes" if flag else "" for flag in (access.fresh, access.suspended))
        lines.append(
            f"| `{name}` | {WHO[access.identity]} | {scope} | {access.role or ''} | {fresh} | {suspended} |"
        )
    return "\n".join(line.replace("|  |", "| |").replace("|  |", "| |") for line in lines) + "\n"


def main() -> int:
    fresh = document()
    known = TARGET.read_text(encoding="utf-8") if TARGET.exists() else ""
    if "--check" not in sys.argv:
        TARGET.write_text(fresh, encoding="utf-8")
        return 0
    lines = (known.splitlines(), fresh.splitlines())
    difference = difflib.unified_diff(*lines, "docs/authorization.md", "the code", lineterm="")
    sys.stdout.writelines(f"{line}\n" for line in difference)
    if known != fresh:
        print("docs/authorization.md is out of date: run `make authorization` and look at the difference.")
    return int(known != fresh)


if __name__ == "__main__":
    sys.exit(main())
