"""The documents say what the code does: settings, error codes, dependencies, commands, links."""

import ast
import re
import tomllib
from dataclasses import fields
from functools import cache
from pathlib import Path

import pytest

from visiona import settings
from visiona.adapters.imaging.refusals import Code as ImageRefusal
from visiona.core import errors
from visiona.entrypoints.api import problems
from visiona.entrypoints.api.access import ACCESS
from visiona.entrypoints.web.wording import PHOTO_WARNINGS

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "visiona"
DOCUMENTS = sorted(
    path
    for path in ROOT.rglob("*.md")
    if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
)
each_document = pytest.mark.parametrize(
    "document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix()
)

# An absolute path in a document is an address of Visiona or of a provider, or one of these places
# that every machine has; anything else would be a file of somebody's own.
ADDRESSES = frozenset(row.partition(" ")[2] for row in ACCESS)
ABSOLUTE_PATHS = frozenset(address.split("/")[1] for address in ADDRESSES) | {
    "v1", "files", "_sandbox", "run", "dev", "sign-in", "user"
}  # fmt: skip
AROUND_VISIONA = "Read by tools around Visiona"


@cache
def text_of(document: Path) -> str:
    return document.read_text(encoding="utf-8")


def section(document: str, heading: str) -> str:
    """What stands under a second-level heading of a document in docs/."""
    text = text_of(ROOT / "docs" / document)
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"docs/{document} has no section {heading!r}"
    return found[1]


def rows(markdown: str) -> list[list[str]]:
    """The cells of every table row that begins with a code span; the first without its backticks."""
    lines = [line for line in markdown.splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return [[row[0].strip("`"), *row[1:]] for row in cells]


def assert_same(documented: list[str], real: set[str]) -> None:
    assert len(documented) == len(set(documented)), "something is documented twice"
    assert set(documented) - real == set(), "documented, but not there"
    assert real - set(documented) == set(), "there, but not documented"


# Settings


def documented_settings() -> dict[str, str]:
    """Default by variable, as docs/settings.md gives them."""
    before, _, _ = text_of(ROOT / "docs/settings.md").partition(f"## {AROUND_VISIONA}")
    return {row[0]: row[1] for row in rows(before)}


def test_every_setting_is_documented() -> None:
    real = {f"VISIONA_{field.name.upper()}" for field in fields(settings.Settings)}
    assert_same(list(documented_settings()), real)


def test_documented_defaults_are_the_defaults() -> None:
    given = {name: default.strip("`") for name, default in documented_settings().items() if default != "none"}
    assert settings.read_settings(given) == settings.Settings()


def test_every_other_variable_is_documented() -> None:
    around = [row[0] for row in rows(section("settings.md", AROUND_VISIONA))]
    assert set(around) >= settings._OTHER_VARIABLES
    used = " ".join(path.read_text() for path in (ROOT / "scripts").iterdir() if path.is_file())
    assert set(around) >= set(re.findall(r"VISIONA_[A-Z_]+", used)) - set(documented_settings())


@each_document
def test_no_document_names_a_variable_that_is_none(document: Path) -> None:
    known = {*documented_settings(), *(row[0] for row in rows(section("settings.md", AROUND_VISIONA)))}
    named = set(re.findall(r"VISIONA_[A-Z][A-Z_]*[A-Z]", text_of(document)))
    assert {name for name in named if not {name, name.removesuffix("_FILE")} & known} == set()


# Error codes


@cache
def calls() -> list[tuple[Path, ast.Call, str]]:
    """Every call in Visiona's own code, with the name that is called; the sandbox's errors are others'."""
    found: list[tuple[Path, ast.Call, str]] = []
    for path in sorted(path for path in SOURCE.rglob("*.py") if "sandbox" not in path.parts):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
                name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
                found.append((path.relative_to(SOURCE), node, name))
    return found


def codes_of(*names: str, position: int = 0, room: str = "") -> set[str]:
    """The codes that calls of these names carry. One that is not written out must be one that is
    passed on (`error.code`): otherwise this test could not see it.
    """
    found: set[str] = set()
    for path, call, name in calls():
        if name not in names or not path.as_posix().startswith(room):
            continue
        keyword = next((word.value for word in call.keywords if word.arg == "code"), None)
        argument = call.args[position] if len(call.args) > position else keyword
        if isinstance(argument, ast.Constant):
            found.add(argument.value)
        else:
            passed_on = argument is None or (isinstance(argument, ast.Attribute) and argument.attr == "code")
            assert passed_on, f"{path}:{call.lineno}: write the code out"
    return found


def answers() -> set[tuple[str, str]]:
    """(code, HTTP status) of every problem document."""
    kinds = {kind.__name__: status for kind, status in problems._STATUS.items()}
    assert set(kinds) == {kind.__name__ for kind in errors.VisionaError.__subclasses__()}
    found = {(code, str(status)) for name, status in kinds.items() for code in codes_of(name)}
    found |= {(code, str(status)) for status, (code, _) in problems._FRAMEWORK_CODES.items()}
    for _, call, name in calls():
        written_out = len(call.args) > 1 and all(isinstance(one, ast.Constant) for one in call.args[:2])
        if name == "respond" and written_out:
            found.add((ast.literal_eval(call.args[1]), str(ast.literal_eval(call.args[0]))))
    return (
        found
        | {(code, "422") for code in codes_of("AllRejectedProblem", position=4)}
        | {("refused", "other")}
    )


def test_every_answer_is_documented() -> None:
    documented = [f"{row[0]} {row[1]}" for row in rows(section("errors.md", "Answers"))]
    assert_same(documented, {f"{code} {status}" for code, status in answers()})


def test_every_field_code_is_documented() -> None:
    documented = [row[0] for row in rows(section("errors.md", "Fields of the input"))]
    assert_same(documented, codes_of("FieldError", "FieldProblem", position=1))


def test_every_code_of_a_file_is_documented() -> None:
    documented = [row[0] for row in rows(section("errors.md", "Files that are turned away"))]
    assert_same(documented, codes_of("PhotoRefused") | {code.value for code in ImageRefusal})


@pytest.mark.parametrize(
    ("heading", "room"),
    [
        ("Trainings that end without a clone", "clones/"),
        ("Generations that end without images", "generations/"),
    ],
)
def test_every_failure_is_documented(heading: str, room: str) -> None:
    assert_same([row[0] for row in rows(section("errors.md", heading))], codes_of("Failure", room=room))


def test_every_photo_warning_is_documented() -> None:
    assert_same([row[0] for row in rows(section("errors.md", "Warnings about photos"))], set(PHOTO_WARNINGS))


# Dependencies


def project_dependencies(extra: str | None = None) -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    listed = project["optional-dependencies"][extra] if extra else project["dependencies"]
    return {re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0] for requirement in listed}


@pytest.mark.parametrize(
    ("heading", "extra"), [("Runtime", None), ("Build", "build"), ("Development and tests", "dev")]
)
def test_every_dependency_is_explained(heading: str, extra: str | None) -> None:
    table = rows(section("dependencies.md", heading))
    assert_same([row[0] for row in table], project_dependencies(extra))
    assert all(all(row) for row in table), "a reason, a licence or an alternative is missing"


# Every document


@each_document
def test_commands_of_make_exist(document: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", text_of(ROOT / "Makefile"), re.MULTILINE))
    in_code = re.findall(r"```.*?```|`[^`]+`", text_of(document), re.DOTALL)
    named = {name for code in in_code for name in re.findall(r"\bmake ([a-z]+)", code)}
    assert named - targets == set()


@each_document
def test_addresses_exist(document: Path) -> None:
    """Those that a line calls "next" are promised, not there."""
    routes = {re.sub(r"\{.*?\}", "{}", address) for address in ADDRESSES}
    lines = [line for line in text_of(document).splitlines() if not re.search(r"\bnext\b", line)]
    named = {path for line in lines for path in re.findall(r"(/api/[a-z/{}-]*[a-z}])(?![\w.])", line)}
    assert {path for path in named if re.sub(r"\{.*?\}", "{}", path) not in routes} == set()


@each_document
def test_links_resolve(document: Path) -> None:
    prose = re.sub(r"```.*?```", "", text_of(document), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (document.parent / path).resolve() if path else document
        assert linked.exists(), f"{target} does not exist"
        if anchor:
            assert anchor in anchors(linked), f"{target} names no heading"


def anchors(document: Path) -> set[str]:
    """The headings' fragment names, as code hosts make them."""
    headings = re.findall(r"^#+ (.+)$", text_of(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_document
def test_no_path_of_a_machine(document: Path) -> None:
    found = re.findall(r"(?<![\w/.:<>$)}\]*~+-])/(\.?[A-Za-z_][\w.-]*)", text_of(document))
    assert {first for first in found if first not in ABSOLUTE_PATHS} == set()
