"""What is due when: one queue for each test clock, and one for everything without."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass

from visiona.sandbox.stripe.store import Obj

Due = Callable[[Obj], int | None]
Step = Callable[[Obj], None]
_Entry = tuple[int, int, str, str]


@dataclass(frozen=True, slots=True)
class _Duty:
    """At one moment, duties with a lower rank are done first."""

    rank: int
    due: Due
    step: Step


def clock_of(obj: Obj) -> str | None:
    """The test clock by which an object lives; some have no field to show it."""
    return obj.get("test_clock") or obj.get("_clock")


class Agenda:
    """Entries are never taken out early: one whose object has moved on is passed over when its time
    comes. So a change that is taken back finds its old entry still there.
    """

    def __init__(self) -> None:
        self._duties: dict[str, _Duty] = {}
        self._queues: dict[str | None, list[_Entry]] = {}
        self._newest: dict[tuple[str, str], int] = {}

    def register(self, kind: str, rank: int, due: Due, step: Step) -> None:
        """`due` reads from an object when it needs attention next; `step` does what is due."""
        self._duties[kind] = _Duty(rank, due, step)

    def clear(self) -> None:
        self._queues.clear()
        self._newest.clear()

    def note(self, obj: Obj) -> None:
        """Look at an object that is new or has changed."""
        duty = self._duties.get(obj["object"])
        if duty is None or (due := duty.due(obj)) is None:
            return
        key = (obj["object"], obj["id"])
        if self._newest.get(key) != due:
            self._newest[key] = due
            queue = self._queues.setdefault(clock_of(obj), [])
            heapq.heappush(queue, (due, duty.rank, *key))

    def pop(self, test_clock: str | None, until: int) -> tuple[int, str, str] | None:
        """The earliest entry up to and including `until`: moment, kind and id."""
        queue = self._queues.get(test_clock)
        if not queue or queue[0][0] > until:
            return None
        due, _, kind, id_ = heapq.heappop(queue)
        if self._newest.get((kind, id_)) == due:
            del self._newest[kind, id_]
        return due, kind, id_

    def is_due(self, obj: Obj, moment: int) -> bool:
        """Whether an entry for `moment` still tells the truth about its object."""
        return self._duties[obj["object"]].due(obj) == moment

    def step(self, obj: Obj) -> None:
        self._duties[obj["object"]].step(obj)
