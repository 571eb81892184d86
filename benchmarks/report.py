"""What a measurement prints: medians with their spread, and ratios taken round by round."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

NOTHING = "-"


@dataclass(slots=True)
class Table:
    """Cells are text already; the first column is aligned to the left, the others to the right."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, *cells: str) -> None:
        self.rows.append(cells)

    def text(self) -> str:
        lines = [self.columns, *self.rows]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.columns))]
        rule = "─" * (sum(widths) + 2 * (len(widths) - 1))
        body = [_aligned(line, widths) for line in lines]
        return "\n".join([self.title, rule, body[0], rule, *body[1:], rule, *self.notes, ""])


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    padded = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
    return "  ".join(padded).rstrip()


def number(value: float) -> str:
    """Three significant digits, and no more decimals than they need."""
    magnitude = abs(value)
    decimals = 0 if magnitude >= 100 else 1 if magnitude >= 10 else 2
    return f"{value:,.{decimals}f}"


def median(samples: Sequence[float]) -> str:
    return number(statistics.median(samples)) if samples else NOTHING


def span(samples: Sequence[float]) -> str:
    """The smallest and the largest."""
    return f"{number(min(samples))} - {number(max(samples))}" if samples else NOTHING


def ratio(samples: Sequence[float], reference: Sequence[float]) -> tuple[str, str]:
    """Median and span of the ratios between what was measured in the same round."""
    ratios = [sample / other for sample, other in zip(samples, reference, strict=True)]
    return f"{median(ratios)}x", span(ratios)


def percentile(ordered: Sequence[float], share: float) -> float:
    """Of samples in ascending order."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def megabytes(size: float) -> str:
    return f"{number(size / 1e6)} MB"
