"""Progress lines as the `tqdm` library prints them into a model's log."""

_EIGHTHS = " ▏▎▍▌▋▊▉"
_CELLS = 10


def line(done: int, total: int, elapsed: float, label: str = "") -> str:
    """`label:  35%|███▌      | 350/1000 [00:04<00:08, 83.33it/s]`."""
    share = done / total if total else 1.0
    rate = done / elapsed if elapsed > 0 else 0.0
    left = _minutes((total - done) / rate) if rate else "?"
    prefix = f"{label}: " if label else ""
    speed = f"{rate:5.2f}it/s" if rate else "?it/s"
    times = f"{_minutes(elapsed)}<{left}, {speed}"
    return f"{prefix}{int(share * 100):3d}%|{_bar(share)}| {done}/{total} [{times}]\n"


def _bar(share: float) -> str:
    eighths = int(share * _CELLS * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (_EIGHTHS[rest] if rest else "")).ljust(_CELLS)


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60:02d}:{int(seconds) % 60:02d}"
