"""An invoice as a PDF, written by hand: A4 pages, the reader's own Helvetica, nothing compressed.

The font knows the characters of Windows-1252; accents beyond them are left off, and what then is still
unknown is shown as a question mark.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from visiona.sandbox.stripe.engine.views import HostedInvoiceView, PreviewLine
from visiona.sandbox.stripe.pages.wording import format_amount, format_date

_WIDTH, _HEIGHT = 595, 842  # A4 in points
_LEFT, _RIGHT = 56, 539
_TOP, _BOTTOM = 786, 96
_SIZE, _LEADING = 10, 16
_TEXT_WIDTH: Final = 360  # what the amounts leave of a line

# How wide Helvetica's characters are, in thousandths of the size; the digits' width stands for all others.
_CHARACTERS_BY_WIDTH: Final = {
    191: "'",
    222: "ijl",
    260: "|",
    278: " !,./:;I[\\]ft",
    333: "()-`r",
    334: "{}",
    355: '"',
    389: "*",
    469: "^",
    500: "Jcksvxyz",
    556: "#$0123456789?L_abdeghnopqu",
    584: "+<=>~",
    611: "FTZ",
    667: "&ABEKPSVXY",
    722: "CDHNRUw",
    778: "GOQ",
    833: "Mm",
    889: "%",
    944: "W",
    1015: "@",
}
_WIDTHS: Final = {
    character: width for width, characters in _CHARACTERS_BY_WIDTH.items() for character in characters
}
_DIGIT_WIDTH: Final = 556
# Letters with a stroke, which do not come apart into a letter and an accent.
_NEAREST: Final = str.maketrans("ŁłĐđĦħı", "LlDdHhi")


@dataclass(slots=True)
class _Sheet:
    """The drawing of one page, and how far down it has come."""

    operators: list[str] = field(default_factory=list[str])
    y: float = _TOP

    def text(
        self, text: str, x: float, *, size: float = _SIZE, bold: bool = False, grey: float = 0.1
    ) -> None:
        text = _printable(text)
        font = "F2" if bold else "F1"
        where = f"{x:.2f} {self.y:.2f} Td"
        self.operators.append(f"BT /{font} {size:g} Tf {grey:g} g {where} ({_escaped(text)}) Tj ET")

    def right(self, text: str, *, size: float = _SIZE, grey: float = 0.1) -> None:
        self.text(text, _RIGHT - _width(_printable(text), size), size=size, grey=grey)

    def rule(self) -> None:
        self.operators.append(f"0.8 G 0.6 w {_LEFT} {self.y:.2f} m {_RIGHT} {self.y:.2f} l S")

    def mark(self) -> None:
        """The word across the page, under everything else."""
        self.operators.insert(
            0,
            "q 0.92 g BT /F2 96 Tf 0.7071 0.7071 -0.7071 0.7071 140 220 Tm (SANDBOX) Tj ET Q",
        )


def invoice_pdf(view: HostedInvoiceView) -> bytes:
    """The file. The same invoice in the same state gives the same bytes."""
    sheets = [_head(view)]
    for line in view.lines:
        _line(sheets, line, view.currency)
    _totals(sheets, view)
    for index, sheet in enumerate(sheets, 1):
        sheet.mark()
        sheet.y = 52
        sheet.text("Sandbox - no money moves. This is not an invoice for tax.", _LEFT, size=8, grey=0.35)
        sheet.right(f"Page {index} of {len(sheets)}", size=8, grey=0.35)
    return _file(f"Invoice {view.number or view.id}", view.created, sheets)


def _head(view: HostedInvoiceView) -> _Sheet:
    sheet = _Sheet()
    sheet.text("Invoice", _LEFT, size=24, bold=True)
    sheet.right("SANDBOX", size=12, grey=0.35)
    sheet.y -= 34
    facts = [
        ("Number", view.number or view.id),
        ("Date", format_date(view.created)),
        ("Status", _status(view)),
        ("Currency", view.currency.upper()),
        ("From", view.merchant),
        ("For", ", ".join(part for part in (view.customer_name, view.customer_email) if part) or "-"),
    ]
    for name, value in facts:
        sheet.text(name, _LEFT, grey=0.35)
        for part in _wrapped(value, _TEXT_WIDTH):
            sheet.text(part, _LEFT + 72)
            sheet.y -= _LEADING
    sheet.y -= _LEADING
    sheet.text("Description", _LEFT, size=9, grey=0.35)
    sheet.right("Amount", size=9, grey=0.35)
    sheet.y -= 8
    sheet.rule()
    sheet.y -= _LEADING + 2
    return sheet


def _line(sheets: list[_Sheet], line: PreviewLine, currency: str) -> None:
    parts = list(_wrapped(line.description, _TEXT_WIDTH))
    sheet = _with_room(sheets, len(parts))
    sheet.right(format_amount(line.amount, currency))
    for part in parts:
        sheet.text(part, _LEFT)
        sheet.y -= _LEADING
    sheet.y -= 4


def _totals(sheets: list[_Sheet], view: HostedInvoiceView) -> None:
    rows = [("Total", view.total)]
    if view.total > 0 and view.amount_due != view.total:
        rows.append(("Credit applied", view.amount_due - view.total))
    rows += [("Paid", view.amount_paid), ("Left to pay", view.amount_remaining)]
    sheet = _with_room(sheets, len(rows) + 2)
    sheet.y += 6
    sheet.rule()
    sheet.y -= _LEADING + 4
    for name, amount in rows:
        bold = name == "Total"
        sheet.text(name, _LEFT, bold=bold, size=11 if bold else _SIZE)
        sheet.right(format_amount(amount, view.currency), size=11 if bold else _SIZE)
        sheet.y -= _LEADING + 2


def _with_room(sheets: list[_Sheet], lines: int) -> _Sheet:
    """The last sheet, or a new one where that many lines no longer fit."""
    if sheets[-1].y - lines * _LEADING < _BOTTOM:
        sheets.append(_Sheet())
    return sheets[-1]


def _status(view: HostedInvoiceView) -> str:
    paid = f"paid on {format_date(view.paid_at)}" if view.paid_at else "paid"
    return paid if view.status == "paid" else view.status


def _wrapped(text: str, width: float) -> Iterator[str]:
    """The text in lines that fit; a word that is too long for one is cut."""
    line = ""
    for word in text.split():
        rest = word
        while _width(rest, _SIZE) > width:
            fits = next(n for n in range(len(rest), 0, -1) if _width(rest[:n], _SIZE) <= width)
            if line:
                yield line
                line = ""
            yield rest[:fits]
            rest = rest[fits:]
        if line and _width(f"{line} {rest}", _SIZE) > width:
            yield line
            line = rest
        else:
            line = f"{line} {rest}".strip()
    yield line


def _width(text: str, size: float) -> float:
    return sum(map(_character_width, text)) * size / 1000


def _character_width(character: str) -> int:
    """An accent is as wide as its letter."""
    return _WIDTHS.get(unicodedata.normalize("NFKD", character)[0], _DIGIT_WIDTH)


def _printable(text: str) -> str:
    """The text in characters that the font has, or the nearest to them."""
    return "".join(map(_printable_character, text.translate(_NEAREST)))


def _printable_character(character: str) -> str:
    for candidate in (character, unicodedata.normalize("NFKD", character)[0]):
        with suppress(UnicodeEncodeError):
            candidate.encode("cp1252")
            return candidate
    return "?"


def _escaped(text: str) -> str:
    """A string of the page language, in octal where it is not plain ASCII."""
    shown = ""
    for code in text.encode("cp1252"):
        if chr(code) in "()\\":
            shown += f"\\{chr(code)}"
        elif 32 <= code < 127:
            shown += chr(code)
        else:
            shown += f"\\{code:03o}"
    return shown


def _file(title: str, created: int, sheets: Sequence[_Sheet]) -> bytes:
    """Catalogue, page tree, the two fonts, the description; then each page and its drawing."""
    first = 6
    made = f"D:{datetime.fromtimestamp(created, UTC):%Y%m%d%H%M%S}Z"
    kids = " ".join(f"{first + 2 * index} 0 R" for index in range(len(sheets)))
    font = "<< /Type /Font /Subtype /Type1 /BaseFont /{} /Encoding /WinAnsiEncoding >>"
    objects = [
        "<< /Type /Catalog /Pages 2 0 R /Lang (en) >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(sheets)} >>",
        font.format("Helvetica"),
        font.format("Helvetica-Bold"),
        f"<< /Title ({_escaped(_printable(title))}) /Producer (Payment sandbox) /CreationDate ({made}) >>",
    ]
    for index, sheet in enumerate(sheets):
        drawing = "\n".join(sheet.operators)
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {_WIDTH} {_HEIGHT}] "
            "/Resources << /Font << /F1 3 0 R /F2 4 0 R >> >> "
            f"/Contents {first + 2 * index + 1} 0 R >>"
        )
        objects.append(f"<< /Length {len(drawing)} >>\nstream\n{drawing}\nendstream")
    content = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    offsets: list[int] = []
    for number, body in enumerate(objects, 1):
        offsets.append(len(content))
        content += f"{number} 0 obj\n{body}\nendobj\n".encode("ascii")
    start = len(content)
    entries = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    size = len(objects) + 1
    content += (
        f"xref\n0 {size}\n0000000000 65535 f \n{entries}"
        f"trailer\n<< /Size {size} /Root 1 0 R /Info 5 0 R >>\nstartxref\n{start}\n%%EOF\n"
    ).encode("ascii")
    return bytes(content)
