"""The page in an export that a person opens: everything in it, readable without a network. No scripts.

What people typed is escaped: a prompt stays words, whatever it says.
"""

from collections.abc import Generator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from html import escape
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

from visiona.exports.archive import Entry
from visiona.exports.model import ABSENT, Picture

PAGE: Final = "index.html"


@dataclass(frozen=True, slots=True)
class Section:
    """What of a table the page shows, as a list of `columns` (heading, and names of the values in it) or,
    where it has none, as pictures with their words from `caption`.
    """

    title: str
    table: str
    columns: tuple[tuple[str, tuple[str, ...]], ...] = ()
    caption: tuple[str, ...] = ()


def _list(title: str, table: str, **columns: str) -> Section:
    headed = tuple((heading.replace("_", " "), tuple(names.split())) for heading, names in columns.items())
    return Section(title, table, headed)


SECTIONS: Final = (
    _list("Account", "users", Address="email", Since="created_at", Address_confirmed="email_verified_at",
          Status="status"),
    _list("Plan", "entitlements", Plan="plan", Since="changed_at"),
    _list("Consents", "consents", Whose_face="subject label", Signed_by="name", State="state",
          Text="version", Answered="answered_at", Withdrawn="withdrawn_at"),
    Section("Photos", "photos", caption=("uploaded_at",)),
    _list("Clones", "models", Clone="id", Status="status", Word_for_you="trigger_word", Photos="photo_count",
          Begun="created_at", Ready="ready_at"),
    Section("Images", "generations", caption=("prompt", "enhanced_prompt", "created_at")),
    _list("What you asked for", "runs", When="created_at", Prompt="prompt", Enhanced="enhanced_prompt",
          Came_to="state"),
    _list("Invoices", "invoices", Number="number", Total="total currency", Status="status",
          When="created_at"),
    _list("Payments", "payments", Amount="amount currency", Status="status", When="created_at"),
    _list("Subscriptions", "subscriptions", Plan="plan", Status="status", Price="amount currency",
          From="period_start", To="period_end"),
    _list("Log-ins", "sessions", Since="created_at", Browser="client", Last_seen="last_seen_at",
          Ended="revoked_at"),
    _list("API keys", "api_keys", Name="name", Begins_with="prefix", Made="created_at",
          Last_used="last_used_at"),
    _list("Passkeys", "passkeys", Name="name", Added="created_at", Last_used="last_used_at"),
    _list("Mails to you", "mails", When="created_at", About="kind", State="state"),
    _list("Refused prompts", "prompt_refusals", Day="day", Rule="rule", Times="times"),
    _list("Reports of your images", "reports", Image="image_id", Reason="reason", State="state",
          When="created_at"),
    _list("Activity", "audit_logs", When="created_at", What="action", By="actor_kind", Where="client"),
)  # fmt: skip
"""In the order of the page."""


class Page:
    """Sections are gathered in files of `folder` while the tables are read, so that memory stays flat."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = ExitStack()
        self._parts: dict[str, IO[str]] = {}
        self._counts: dict[str, int] = {}
        self._sections = {section.table: section for section in SECTIONS}

    def __enter__(self) -> Self:
        for table in self._sections:
            file = (self._folder / f"{table}.html").open("w+", encoding="utf-8", errors="replace")
            self._parts[table] = self._files.enter_context(file)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._files.close()

    def add(self, table: str, row: Mapping[str, Any], picture: Picture | None) -> None:
        self._counts[table] = self._counts.get(table, 0) + 1
        section = self._sections.get(table)
        if section is None:
            return
        words = _figure(section, row, picture) if picture is not None else _line(section, row)
        self._parts[table].write(words)

    def write(self, entry: Entry, made_at: datetime) -> None:
        """Everything that was added, in the order of the page."""
        entry.write(_HEAD.format(made_at=f"{made_at:%-d %B %Y, %H:%M}", day=made_at.date()).encode())
        shown = [section for section in SECTIONS if self._counts.get(section.table)]
        links = "".join(f'<a href="#{one.table}">{escape(one.title)}</a>' for one in shown)
        entry.write(f"<nav aria-label='Sections'>{links}<a href='#files'>All files</a></nav>\n".encode())
        for section in shown:
            count = self._counts[section.table]
            entry.write(_opening(section, count).encode())
            for piece in _pieces(self._parts[section.table]):
                entry.write(piece.encode())
            entry.write(_closing(section).encode())
        entry.write(_tail(self._counts).encode())


def _pieces(file: IO[str]) -> Generator[str]:
    file.seek(0)
    while piece := file.read(65536):
        yield piece


def _opening(section: Section, count: int) -> str:
    title = f'<section id="{section.table}"><h2>{escape(section.title)} <span>{count}</span></h2>'
    if not section.columns:
        return f'{title}<div class="pictures">\n'
    heads = "".join(f'<th scope="col">{escape(heading)}</th>' for heading, _ in section.columns)
    return f'{title}<div class="wide"><table><thead><tr>{heads}</tr></thead><tbody>\n'


def _closing(section: Section) -> str:
    return "</tbody></table></div></section>\n" if section.columns else "</div></section>\n"


def _line(section: Section, row: Mapping[str, Any]) -> str:
    cells = "".join(
        f"<td>{' '.join(_shown(name, row.get(name)) for name in names)}</td>" for _, names in section.columns
    )
    return f"<tr>{cells}</tr>\n"


def _figure(section: Section, row: Mapping[str, Any], picture: Picture) -> str:
    path, words = escape(picture.path), [_shown(name, row.get(name)) for name in section.caption]
    said = "".join(f"<p>{word}</p>" for word in words if word)
    name = escape(f"{section.title[:-1]} {row['id']}")
    image = f'<img src="{path}" alt="{name}" loading="lazy" width="{row["width"]}" height="{row["height"]}">'
    return f'<figure><a href="{path}">{image}</a><figcaption>{said}</figcaption></figure>\n'


def _shown(name: str, value: Any) -> str:
    """A value for people, escaped."""
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return ", ".join(escape(str(one)) for one in value.values())  # pyright: ignore[reportUnknownArgumentType,reportUnknownVariableType] - whatever JSON holds
    text = str(value)
    if name.endswith("_at") or name.startswith("period_"):
        return f'<time datetime="{escape(text)}">{escape(text[:16].replace("T", " "))}</time>'
    if name == "currency":
        return escape(text.upper())
    if name in {"action", "kind"}:
        return escape(text.replace(".", ": ").replace("_", " "))
    return escape(text)


def _tail(counts: Mapping[str, int]) -> str:
    files = "".join(
        f'<tr><td><a href="data/{escape(table)}.json">data/{escape(table)}.json</a></td><td>{count}</td></tr>'
        for table, count in counts.items()
    )
    absent = "".join(f"<li><strong>{escape(what)}</strong>: {escape(why)}.</li>" for what, why in ABSENT)
    return _TAIL.format(files=files, absent=absent)


_HEAD: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<title>Your data at Visiona, {day}</title>
<style>
:root {{ color-scheme: light dark; --ink: #17201d; --quiet: #5a635f; --paper: #f7f4ed; --card: #fffefa;
  --line: #dfdacd; --link: #0f614c; }}
@media (prefers-color-scheme: dark) {{ :root {{ --ink: #ebe7dd; --quiet: #a7afaa; --paper: #0f1412;
  --card: #171d1a; --line: #303934; --link: #8fd6bd; }} }}
* {{ box-sizing: border-box; }}
body {{ margin: 0; padding: 24px clamp(12px, 4vw, 48px) 64px; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; }}
header, section, nav {{ max-width: 1120px; margin: 0 auto 24px; }}
h1, h2 {{ font-family: "Iowan Old Style", "Palatino Linotype", Palatino, Georgia, serif; font-weight: 500; }}
h1 {{ font-size: 38px; line-height: 1.15; margin: 24px 0 8px; }}
h2 {{ font-size: 23px; margin: 0 0 12px; }}
h2 span, .quiet, time {{ color: var(--quiet); font-weight: 400; }}
a {{ color: var(--link); }}
nav {{ display: flex; flex-wrap: wrap; gap: 6px 16px; }}
section {{ padding: 20px; background: var(--card); border: 1px solid var(--line); border-radius: 18px; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; min-width: 100%; }}
th, td {{ text-align: left; vertical-align: top; padding: 8px 16px 8px 0; border-top: 1px solid var(--line);
  min-width: 5ch; max-width: 60ch; overflow-wrap: break-word; }}
th {{ border: 0; color: var(--quiet); font-weight: 500; white-space: nowrap; }}
time {{ white-space: nowrap; }}
.pictures {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(min(180px, 42%), 1fr));
  gap: 20px 16px; }}
figure {{ margin: 0; }}
img {{ display: block; width: 100%; height: auto; border-radius: 10px; background: var(--line); }}
figcaption p {{ margin: 6px 0 0; font-size: 14px; overflow-wrap: anywhere; }}
li {{ margin: 0 0 8px; }}
</style>
</head>
<body>
<header>
<h1>Your data at Visiona</h1>
<p class="quiet">Everything that was kept of you when this copy was made, on {made_at}. Times are
in UTC. Nothing on this page leaves this folder.</p>
</header>
"""
_TAIL: Final = """<section id="files"><h2>All files</h2>
<p>For programs: each table as JSON, with everything that it keeps of you.
<a href="manifest.json">manifest.json</a> lists every file of this copy with its SHA-256.</p>
<div class="wide"><table><thead><tr><th scope="col">File</th><th scope="col">Entries</th></tr></thead>
<tbody>{files}</tbody></table></div></section>
<section id="absent"><h2>What is not in here</h2><ul>{absent}</ul></section>
</body>
</html>
"""
