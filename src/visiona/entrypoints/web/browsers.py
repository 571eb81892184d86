"""What a browser says it is, in words that its owner would use."""

import re
from typing import Final

# In this order: most browsers claim to be several of these.
_BROWSERS: Final = (
    ("Edge", re.compile(r"\bEdg(?:A|iOS)?/(\d+)")),
    ("Opera", re.compile(r"\bOPR/(\d+)")),
    ("Samsung Internet", re.compile(r"\bSamsungBrowser/(\d+)")),
    ("Firefox", re.compile(r"\b(?:Firefox|FxiOS)/(\d+)")),
    ("Chrome", re.compile(r"\b(?:HeadlessChrome|Chrome|CriOS)/(\d+)")),
    ("Safari", re.compile(r"\bVersion/(\d+)\S* (?:Mobile/\S+ )?Safari/")),
)
_SYSTEMS: Final = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows NT", "Windows"),
    ("CrOS", "ChromeOS"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)


def browser_words(user_agent: str) -> str:
    """`Chrome 148 on Windows`; of a program, what it calls itself."""
    system = next((words for mark, words in _SYSTEMS if mark in user_agent), None)
    for name, pattern in _BROWSERS:
        found = pattern.search(user_agent)
        if found is not None:
            return f"{name} {found[1]}" if system is None else f"{name} {found[1]} on {system}"
    return user_agent.partition(" ")[0][:60] or "Something that did not say what it is"
