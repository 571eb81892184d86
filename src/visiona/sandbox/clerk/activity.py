"""From where somebody is signed in, as far as a request tells."""

from typing import Final

from visiona.sandbox.clerk.store import Obj

_BROWSERS: Final = (("Edg/", "Edge"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))
_MACHINES: Final = (
    ("iPhone", "iPhone"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Macintosh", "Macintosh"),
    ("Linux", "Linux"),
)


def activity_of(client_ip: str, user_agent: str) -> Obj:
    """The fields of a session's `latest_activity`."""
    browser = next((name for sign, name in _BROWSERS if sign in user_agent), None)
    machine = next((name for sign, name in _MACHINES if sign in user_agent), None)
    known = {"browser_name": browser or user_agent.partition("/")[0], "device_type": machine}
    return {
        "is_mobile": "Mobi" in user_agent,
        "ip_address": client_ip,
        **{name: value for name, value in known.items() if value},
    }
