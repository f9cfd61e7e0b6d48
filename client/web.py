"""The client's HTTP: no redirects, no cookies, and limits on every answer."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy

import requests
import urllib3

CHUNK = 65_536
LONGEST_WAIT_S = 300.0


class TooLarge(ValueError):
    """The other side sends more than is accepted."""


Failure = (requests.RequestException, urllib3.exceptions.HTTPError, OSError, TooLarge)


class Session(requests.Session):
    """A session that neither follows redirects nor keeps cookies.

    requests would read the whole body of a redirect even if it does not follow it, so redirects
    are hidden from it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))

    def get_redirect_target(self, resp: requests.Response) -> None:  # noqa: ARG002 (as inherited)
        """Return None, so that no response counts as a redirect."""
        return


def read(response: requests.Response, most_bytes: int, deadline: float) -> bytes:
    """Read the decoded body of a streamed response.

    deadline: by time.monotonic(). Raises TooLarge, TimeoutError and the errors in Failure.
    """
    body = bytearray()
    while part := response.raw.read1(CHUNK, decode_content=True):
        body += part
        if len(body) > most_bytes:
            raise TooLarge(f"the answer has more than {most_bytes:,} bytes")
        if time.monotonic() > deadline:
            raise TimeoutError
    return bytes(body)


def reason(error: BaseException, timeout_s: float | None = None) -> str:
    """Return in a few words why a request failed, without the address that libraries add."""
    if isinstance(error, requests.Timeout | TimeoutError | urllib3.exceptions.TimeoutError):
        return f"no answer within {timeout_s:g} s" if timeout_s else "no answer in time"
    cause = error
    while nested := cause.__cause__ or cause.__context__:  # requests wraps three times
        cause = nested
    if isinstance(cause, TooLarge):
        return str(cause)
    return getattr(cause, "strerror", None) or type(cause).__name__


def retry_after(value: str | None) -> float | None:
    """Return the seconds of a Retry-After header, 300 at most; None if missing or invalid."""
    if value is None:
        return None
    try:
        if value.strip().isdecimal():
            return min(float(value), LONGEST_WAIT_S)
        at = parsedate_to_datetime(value)
        if at.tzinfo is None:
            at = at.replace(tzinfo=UTC)
        wait_s = (at - datetime.now(UTC)).total_seconds()
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
    return min(max(wait_s, 0.0), LONGEST_WAIT_S)
