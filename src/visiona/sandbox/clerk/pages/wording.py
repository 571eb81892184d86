"""How the pages say things."""

from datetime import UTC, datetime

from visiona.sandbox.clerk.store import Obj


def format_date(milliseconds: int) -> str:
    """`23 November 2026, 18:10 UTC`."""
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return f"{moment.day} {moment:%B %Y, %H:%M} UTC"


def describe_session(session: Obj) -> str:
    """From where somebody is signed in, as far as it is known."""
    activity: Obj = session.get("latest_activity", {})
    parts: list[str | None] = [activity.get("browser_name"), activity.get("device_type")]
    named = " on ".join(part for part in parts if part)
    return named or "Signed in by the application"
