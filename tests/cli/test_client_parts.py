"""The parts of the person's commands that need no server."""

import os
import stat
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
import typer

from visiona.entrypoints.cli.answers import FieldProblem, Photo, Problem, RejectedFile, UploadReport
from visiona.entrypoints.cli.credentials import CredentialStore, Session, default_path
from visiona.entrypoints.cli.errors import (
    CommandFailed,
    NotSignedIn,
    Refused,
    StillRunning,
    Unreachable,
    WorkFailed,
)
from visiona.entrypoints.cli.options import parameters, parse_parameter
from visiona.entrypoints.cli.output import clean, percent
from visiona.entrypoints.cli.servers import server_origin, server_url, travels_in_clear
from visiona.entrypoints.cli.uploading import (
    CountedFile,
    Upload,
    _rejections,
    _verdicts,
    as_uploads,
    find_photos,
)
from visiona.entrypoints.cli.waiting import Sighting, wait

SESSION = Session(email="ada@example.org", access_token="t", expires_at=datetime(2026, 1, 1, tzinfo=UTC))


class TestCredentials:
    def test_file_and_folder_are_private_whatever_the_umask(self, tmp_path: Path) -> None:
        store = CredentialStore(tmp_path / "visiona" / "credentials.json")
        before = os.umask(0)
        try:
            store.update("http://a", lambda _: SESSION)
        finally:
            os.umask(before)
        assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
        assert stat.S_IMODE(store.path.parent.stat().st_mode) == 0o700

    def test_a_file_left_open_to_others_is_closed_when_written(self, tmp_path: Path) -> None:
        store = CredentialStore(tmp_path / "credentials.json")
        store.path.write_text("{}")
        store.path.chmod(0o644)
        store.update("http://a", lambda _: SESSION)
        assert stat.S_IMODE(store.path.stat().st_mode) == 0o600

    def test_sessions_are_kept_by_server(self, tmp_path: Path) -> None:
        store = CredentialStore(tmp_path / "credentials.json")
        store.update("http://a", lambda _: SESSION)
        store.update("http://b", lambda _: SESSION)
        store.update("http://a", lambda _: None)
        assert store.load("http://a") is None
        assert store.load("http://b") == SESSION

    def test_a_change_that_fails_leaves_everything_as_it_was(self, tmp_path: Path) -> None:
        store = CredentialStore(tmp_path / "credentials.json")
        store.update("http://a", lambda _: SESSION)
        with pytest.raises(ZeroDivisionError):
            store.update("http://a", lambda _: 1 / 0)  # pyright: ignore[reportArgumentType]
        assert store.load("http://a") == SESSION
        assert sorted(path.name for path in tmp_path.iterdir()) == ["credentials.json", "credentials.lock"]

    def test_a_damaged_file_is_no_session_and_is_written_anew(self, tmp_path: Path) -> None:
        store = CredentialStore(tmp_path / "credentials.json")
        store.path.write_text('{"servers": {"http://a": ')
        assert store.load("http://a") is None
        store.update("http://a", lambda _: SESSION)
        assert store.load("http://a") == SESSION

    def test_commands_side_by_side_lose_no_change(self, tmp_path: Path) -> None:
        path = tmp_path / "credentials.json"

        def sign_in(server: str) -> None:
            for _ in range(10):
                CredentialStore(path).update(server, lambda _: SESSION)

        threads = [threading.Thread(target=sign_in, args=(f"http://{number}",)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all(CredentialStore(path).load(f"http://{number}") for number in range(8))

    def test_where_the_file_is(self, tmp_path: Path) -> None:
        configured = default_path({"XDG_CONFIG_HOME": str(tmp_path)})
        assert configured == tmp_path / "visiona" / "credentials.json"
        usual = Path.home() / ".config" / "visiona" / "credentials.json"
        assert default_path({}) == default_path({"XDG_CONFIG_HOME": "relative"}) == usual

    def test_an_unwritable_place_is_said_in_a_sentence(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(CommandFailed, match=r"file.*(exists|Not a directory)"):
            CredentialStore(tmp_path / "file" / "credentials.json").update("http://a", lambda _: SESSION)


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("steps=500", "steps", 500),
        ("rate=4e-4", "rate", 0.0004),
        ("go_fast=true", "go_fast", True),
        ("lora_type=subject", "lora_type", "subject"),
        ('word="500"', "word", "500"),
        ("note=a=b", "note", "a=b"),
        ("empty=", "empty", ""),
        ("infinite=NaN", "infinite", "NaN"),
        ("list=[1, 2]", "list", [1, 2]),
    ],
)
def test_parameter_values(text: str, name: str, value: object) -> None:
    parsed = parse_parameter(text)
    assert parsed == (name, value)
    assert type(parsed[1]) is type(value)


@pytest.mark.parametrize("text", ["steps", "=500", " =1", ""])
def test_parameters_need_a_name_and_a_value(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_parameter(text)


def test_parameters_join_options_and_leave_out_what_was_not_given() -> None:
    assert parameters(["a=1"], steps=5, rank=None) == {"steps": 5, "a": 1}
    with pytest.raises(typer.BadParameter, match="steps is given twice"):
        parameters(["steps=1"], steps=5)
    with pytest.raises(typer.BadParameter, match="a is given twice"):
        parameters(["a=1", "a=2"])


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("HTTP://Example.org:80/", "http://example.org"),
        ("https://example.org:443", "https://example.org"),
        ("https://example.org:8443/visiona/", "https://example.org:8443/visiona"),
        ("http://[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_one_spelling_per_server(text: str, url: str) -> None:
    assert server_url(text) == url


@pytest.mark.parametrize(
    "text",
    ["example.org", "ftp://example.org", "http://", "http://me@example.org", "http://a:99999", "http://a?b"],
)
def test_what_is_no_server(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        server_url(text)


def test_the_origin_has_no_path() -> None:
    assert server_origin("https://example.org:8443/visiona") == "https://example.org:8443"


@pytest.mark.parametrize(
    ("server", "clear"),
    [
        ("http://example.org", True),
        ("https://example.org", False),
        ("http://127.0.0.1:8000", False),
        ("http://[::1]:8000", False),
        ("http://localhost", False),
        ("http://127.0.0.1.example.org", True),
    ],
)
def test_what_travels_in_clear(server: str, clear: bool) -> None:
    assert travels_in_clear(server) is clear


def test_exit_statuses_are_those_promised() -> None:
    problem = Problem(detail="No.", code="no")
    raised: list[CommandFailed] = [
        Refused(422, problem),
        NotSignedIn("who?"),
        Unreachable("gone"),
        WorkFailed("failed"),
        StillRunning("on"),
    ]
    assert [failure.exit_status for failure in raised] == [1, 3, 4, 5, 130]


def test_problems_are_said_with_their_code_and_fields() -> None:
    problem = Problem(
        title="t", detail="Not valid.", code="invalid", errors=[FieldProblem("a.b", "short", "is short")]
    )
    refused = Refused(422, problem)
    assert refused.message == "Not valid. [invalid]"
    assert refused.notes == ("a.b: is short",)
    assert Refused(404, Problem()).message == "The server answered 404 Not Found."


def test_control_characters_never_reach_the_terminal() -> None:
    assert clean("a\x1b[31mb\x07\x9bc\udcff") == "a [31mb  c "


@pytest.mark.parametrize(("fraction", "said"), [(None, "0 %"), (0.0, "0 %"), (0.425, "42 %"), (1.0, "100 %")])
def test_percentages(fraction: float | None, said: str) -> None:
    assert percent(fraction) == said


class TestFindingPhotos:
    def test_folders_are_searched_for_photos_and_files_taken_as_named(self, tmp_path: Path) -> None:
        wanted = ["a.JPG", "b.heic", "deep/er/c.webp", "deep/d.jpeg", "e.png", "f.heif"]
        passed_over = ["notes.txt", ".hidden.jpg", ".trash/g.jpg", "._a.jpg", "raw.cr2"]
        for name in wanted + passed_over:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(b"x")
        (tmp_path / "broken.jpg").symlink_to(tmp_path / "nowhere")
        (tmp_path / "folder.jpg").mkdir()
        found = find_photos([tmp_path, tmp_path / "a.JPG", tmp_path / "notes.txt"])
        names = [str(path.relative_to(tmp_path)) for path in found]
        assert names == ["a.JPG", "b.heic", "e.png", "f.heif", "deep/d.jpeg", "deep/er/c.webp", "notes.txt"]

    def test_names_sent_are_unique_and_plain(self, tmp_path: Path) -> None:
        paths = [tmp_path / name for name in ("x/a.jpg", "y/a.jpg", 'é"\n.jpg', "è'\t.jpg")]
        for path in paths:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"123")
        uploads = as_uploads(paths)
        assert [upload.name for upload in uploads] == ["a.jpg", "a (2).jpg", "___.jpg", "___ (2).jpg"]
        assert {upload.size for upload in uploads} == {3}
        assert {upload.content_type for upload in uploads} == {"image/jpeg"}

    def test_a_counted_file_tells_how_far_it_is_and_starts_over(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(b"0123456789")
        told: list[int] = []
        with CountedFile(tmp_path / "a", told.append) as file:
            assert [file.read(4), file.read(), file.read(4)] == [b"0123", b"456789", b""]
            file.seek(0)
            assert file.read(1) == b"0"
        assert told == [4, 10, 10, 0, 1]


class TestVerdicts:
    def test_accepted_photos_are_the_ones_not_rejected_in_order(self, tmp_path: Path) -> None:
        uploads = self._uploads(tmp_path, "a.jpg", "b.jpg", "c.jpg")
        report = UploadReport(
            photos=[Photo(7, warnings=["low_resolution"]), Photo(8)],
            rejected=[RejectedFile("b.jpg", "not_an_image", "Not an image.")],
        )
        verdicts = list(_verdicts(uploads, report))
        assert [(verdict.photo and verdict.photo.id, verdict.remark) for verdict in verdicts] == [
            (7, "low resolution"),
            (None, "Not an image."),
            (8, ""),
        ]

    def test_a_refusal_of_all_speaks_by_position_or_as_a_whole(self, tmp_path: Path) -> None:
        uploads = self._uploads(tmp_path, "a.jpg", "b.jpg")
        problem = Problem(
            detail="None.", code="x", errors=[FieldProblem("photos[1]", "empty", "It is empty.")]
        )
        assert [file.message for file in _rejections(uploads, problem)] == ["None.", "It is empty."]

    @staticmethod
    def _uploads(folder: Path, *names: str) -> list[Upload]:
        for name in names:
            (folder / name).write_bytes(b"x")
        return as_uploads([folder / name for name in names])


class TestWaiting:
    def test_ends_when_the_work_does(self) -> None:
        states = iter([0.0, 0.5, 1.0])
        work = wait(lambda: next(states), lambda f: Sighting(done=f == 1.0, progress=f, label="x"), again="a")
        assert work == 1.0

    def test_what_does_not_pass_is_raised_at_once(self) -> None:
        failures = iter([Refused(404, Problem(detail="No such clone.")), AssertionError("looked again")])

        def look() -> None:
            raise next(failures)

        with pytest.raises(Refused, match="No such clone"):
            wait(look, lambda _: Sighting(done=True, progress=None, label=""), again="visiona again")

    def test_a_server_that_comes_back_is_waited_for(self) -> None:
        answers = iter([Unreachable("gone"), Refused(503, Problem()), "done"])

        def look() -> str:
            answer = next(answers)
            if isinstance(answer, str):
                return answer
            raise answer

        assert wait(look, lambda _: Sighting(done=True, progress=None, label=""), again="a") == "done"

    def test_stopping_says_how_to_watch_again(self) -> None:
        def look() -> None:
            raise KeyboardInterrupt

        with pytest.raises(StillRunning) as stopped:
            wait(look, lambda _: Sighting(done=True, progress=None, label=""), again="visiona models watch 7")
        assert stopped.value.notes == ("Watch it again: visiona models watch 7",)


def test_help_pays_for_nothing_heavy() -> None:
    ran = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, visiona.entrypoints.cli as cli; cli.build_app(); print(*sys.modules)",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    heavy = {"httpx", "litestar", "psycopg", "procrastinate", "openai", "anthropic", "cv2", "PIL", "pyvips"}
    assert heavy.isdisjoint(ran.stdout.split())
