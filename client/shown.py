"""Text that is safe to show: no terminal controls, no passwords, no spreadsheet formulas."""

from __future__ import annotations

import re
import unicodedata

LONGEST = 500
HIDDEN = "…"
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/+")
# Also percent-encoded, as in an address that was encoded twice.
QUERY = re.compile(r"[?#;=&]|%(?:3[BDF]|2[36])", re.IGNORECASE)
# Anything else before the path may be a password without a host.
AUTHORITY = re.compile(r"(?:[\w.-]*|\[[^\[\]]*\])(?::\d+)?")
# If these come before the last @, a query may have begun, and the @ need not end a password.
UNCLEAR = re.compile(r"\?|/.*[=&;]", re.DOTALL)
# Controls, bidirectional and other invisible formats, surrogates, line and paragraph separators.
INVISIBLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
FORMULA = tuple("=+-@\t\r\n＝＋－＠")  # noqa: RUF001 (spreadsheets read the wide forms too)


def plain(text: str, longest: int = LONGEST) -> str:
    r"""Return text as one printable line of at most `longest` characters.

    White space becomes a space. Control and invisible characters become escapes, such as \x1b.
    """
    cut = " ".join(text[: 4 * longest].split())
    shown = "".join(
        ascii(mark)[1:-1] if unicodedata.category(mark) in INVISIBLE else mark for mark in cut
    )
    return shown if len(shown) <= longest else shown[: longest - 1] + HIDDEN


def address(text: str) -> str:
    """Return an address or path without user, password and query, whatever characters they hold.

    rtsp://admin:pa#ss@cam/live?token=1 becomes rtsp://cam/live… If it is unclear what belongs to
    a secret, only the scheme is kept.
    """
    scheme = SCHEME.match(text)
    start = scheme.group() if scheme else ""
    user, at, place = text[len(start) :].rpartition("@")
    if UNCLEAR.search(user):
        return plain(start + HIDDEN)
    kept = QUERY.split(place, maxsplit=1)[0]
    if start.endswith("//"):
        host, slash, path = kept.partition("/")
        if not AUTHORITY.fullmatch(host):
            return plain(start + HIDDEN)
        kept = host + slash + path.partition(":")[0]
    user = HIDDEN + at if at and not scheme else ""
    return plain(start + user + kept + (HIDDEN if kept != place else ""))


def cell(value: object) -> object:
    """Return a value for a table; quotes text that a spreadsheet would run as a formula."""
    if not isinstance(value, str):
        return value
    text = plain(value)
    return f"'{text}" if value.startswith(FORMULA) or text.startswith(FORMULA) else text
