"""The bars of an upload: one for each file on its way, and one for all of them."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TaskID, TextColumn
from rich.table import Column

from visiona.entrypoints.cli.output import clean, note, notes


class UploadBars:
    """In a terminal, live bars; elsewhere, a line for each batch."""

    def __init__(self, sizes: Mapping[str, int]) -> None:
        """`sizes` in bytes, by name."""
        self._sizes = sizes
        self._sent = dict.fromkeys(sizes, 0)
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", table_column=Column(no_wrap=True, max_width=28)),
            BarColumn(bar_width=24),
            DownloadColumn(table_column=Column(no_wrap=True)),
            TextColumn("[dim]{task.fields[state]}", table_column=Column(no_wrap=True)),
            console=notes,
            transient=True,
            disable=not notes.is_terminal,
        )
        self._all = self._bars.add_task(f"All {len(sizes)}", total=sum(sizes.values()), state="")
        self._files: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    @contextmanager
    def showing(self, names: Sequence[str]) -> Generator[None]:
        """The bars of one batch, gone when its verdicts are there."""
        self._files = {
            name: self._bars.add_task(clean(name), total=self._sizes[name], state="") for name in names
        }
        try:
            yield
        finally:
            for task in self._files.values():
                self._bars.remove_task(task)
        if not notes.is_terminal:
            note(f"Sent {sum(map(bool, self._sent.values()))} of {len(self._sizes)} files.")

    def counter(self, name: str) -> Callable[[int], None]:
        """Tell it how many bytes of the file have been sent so far."""

        def count(sent: int) -> None:
            self._sent[name] = sent
            state = "checking …" if sent >= self._sizes[name] else ""
            self._bars.update(self._files[name], completed=sent, state=state)
            self._bars.update(self._all, completed=sum(self._sent.values()))

        return count
