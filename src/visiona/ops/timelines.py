"""Which way the log went: after each restore the server writes another branch of it, a timeline. Pure.

What was written after the moment that was restored stays in the log, on the timeline that was left there. So
the newest set may be one that nothing leads on from, and the same minute may have happened twice.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from visiona.ops.log import HISTORY, History, Log, LogFile, made_at
from visiona.ops.manifest import LogRange, is_segment, number_of, position_of, segment_of, timeline_of


@dataclass(frozen=True, slots=True)
class Timelines:
    """`begun` is when each timeline is first known to have been there, `left` where each one before a
    timeline was left for it, as positions in the log; `highest` is the last that any file is of.
    """

    begun: Mapping[int, datetime]
    left: Mapping[int, Mapping[int, str]]
    highest: int

    def latest(self) -> int:
        return max(self.begun, default=1)

    def at(self, moment: datetime) -> int:
        """The one that was written then."""
        written = [timeline for timeline, begun in self.begun.items() if begun <= moment]
        return max(written, default=min(self.begun, default=1))

    def leads_to(self, timeline: int, log: LogRange) -> bool:
        """Whether the log goes on from this set to that timeline."""
        own = timeline_of(log.last)
        end = self.left.get(timeline, {}).get(own)
        return own == timeline or (end is not None and position_of(log.lsn) <= position_of(end))

    def on_the_way(self, timeline: int, file: LogFile) -> bool:
        """Whether a file of the log is of that timeline, or of one before it until it was left."""
        own = timeline_of(file.name)
        if own == timeline:
            return True
        end = self.left.get(timeline, {}).get(own)
        if file.name.endswith(HISTORY):
            return end is not None
        return end is not None and number_of(file.name) <= number_of(segment_of(own, end))

    def after(self, timeline: int) -> list[str]:
        """Names of the histories of all later timelines: their numbers are taken."""
        return [f"{number:08X}{HISTORY}" for number in range(timeline + 1, self.highest + 1)]


def timelines_of(log: Log, histories: Mapping[int, History]) -> Timelines:
    """Of one server's log. Every set has files there."""
    begun: dict[int, datetime] = {}
    for file in log.files:
        if is_segment(file.name):
            timeline = timeline_of(file.name)
            begun[timeline] = min(begun.get(timeline, made_at(file.key)), made_at(file.key))
    for timeline, history in histories.items():
        if history.began is not None and timeline in begun:
            begun[timeline] = min(begun[timeline], history.began)
    left = {
        timeline: {parent: lsn for _, parent, lsn in history.branches}
        for timeline, history in histories.items()
    }
    histories_there = {timeline_of(file.name) for file in log.files if file.name.endswith(HISTORY)}
    return Timelines(begun, left, max({*begun, *histories_there}, default=1))
