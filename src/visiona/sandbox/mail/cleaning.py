"""HTML of mails, reduced to what is safe to show. The page's policy holds the same a second time."""

import re
from html import escape
from html.parser import HTMLParser
from typing import Final

_KEPT_TAGS: Final = frozenset(
    "a abbr b blockquote body br code div em h1 h2 h3 h4 h5 h6 head hr html i img li meta ol p "  # noqa: SIM905 - a table
    "pre small span strong style sub sup table tbody td tfoot th thead tr u ul".split()
)
_VOID: Final = frozenset({"br", "hr", "img", "meta"})
# Gone with all that is in them; of other unknown elements the contents stay.
_DROPPED_WHOLE: Final = frozenset(
    "applet audio button canvas frameset iframe math noembed noframes noscript object plaintext script "  # noqa: SIM905 - a table
    "select svg template textarea title video xmp".split()
)
_KEPT_ATTRIBUTES: Final = frozenset(
    {
        "align",
        "alt",
        "class",
        "colspan",
        "dir",
        "height",
        "lang",
        "rowspan",
        "style",
        "title",
        "valign",
        "width",
    }
)
_SETTINGS: Final = frozenset({"viewport", "color-scheme", "supported-color-schemes"})
_IMAGES: Final = tuple(f"data:image/{kind};base64," for kind in ("png", "jpeg", "gif", "webp"))
# What could load something, however it is written: a backslash can spell any of it.
_LOADING_STYLE: Final = re.compile(r"url\(|@import|image-set|image\(|\\", re.IGNORECASE)
_LINKS: Final = ("https://", "http://", "mailto:")


def clean(html: str) -> str:
    """The same page without scripts, forms, frames, and anything that is loaded from elsewhere. Links
    open in a new tab.
    """
    cleaner = _Cleaner()
    cleaner.feed(html)
    cleaner.close()
    return "<!doctype html>\n" + "".join(cleaner.parts)


class _Cleaner(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._dropping: list[str] = []
        self._in_style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._dropping or tag in _DROPPED_WHOLE:
            if tag in _DROPPED_WHOLE:
                self._dropping.append(tag)
            return
        given = {name: value or "" for name, value in attrs}
        if tag not in _KEPT_TAGS or (tag == "meta" and given.get("name") not in _SETTINGS):
            return
        kept = {name: value for name, value in given.items() if name in _KEPT_ATTRIBUTES}
        if _LOADING_STYLE.search(kept.get("style", "")):
            del kept["style"]
        kept |= _special(tag, given)
        written = "".join(f' {name}="{escape(value)}"' for name, value in kept.items())
        self.parts.append(f"<{tag}{written}>")
        self._in_style = tag == "style"

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        # `<script/>` begins a script as `<script>` does, for browsers and so for us.
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if self._dropping:
            if tag in self._dropping:
                del self._dropping[self._dropping.index(tag) :]
        elif tag in _KEPT_TAGS and tag not in _VOID:
            self.parts.append(f"</{tag}>")
            self._in_style = False

    def handle_data(self, data: str) -> None:
        if not self._dropping:
            self.parts.append(_style(data) if self._in_style else escape(data, quote=False))


def _style(text: str) -> str:
    """In a style sheet `>` is a combinator and stays as it is; `<` has no place there."""
    return "" if _LOADING_STYLE.search(text) else text.replace("<", "")


def _special(tag: str, given: dict[str, str]) -> dict[str, str]:
    """Attributes that are kept on this element only, and only with values that do no harm."""
    if tag == "meta":
        return {"name": given["name"], "content": given.get("content", "")}
    if tag == "a" and given.get("href", "").strip().casefold().startswith(_LINKS):
        return {"href": given["href"].strip(), "target": "_blank", "rel": "noopener noreferrer"}
    if tag == "img" and given.get("src", "").startswith(_IMAGES):
        return {"src": given["src"]}
    return {}
