"""Host and Origin checks: the host names to answer to, and the web pages that may send requests."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from functools import lru_cache
from http import HTTPStatus
from urllib.parse import urlsplit

from flask import Request
from werkzeug.exceptions import Forbidden, HTTPException
from werkzeug.sansio.utils import host_is_trusted

SAFE = {"GET", "HEAD", "OPTIONS"}
MOST_CACHED = 256  # addresses; a client sends the same ones with every request


class MisdirectedRequest(HTTPException):
    """The request is for a host that this service does not answer to."""

    code = HTTPStatus.MISDIRECTED_REQUEST


def check_host(request: Request, allowed: Collection[str]) -> None:
    """Refuse a host name that is not allowed; raises MisdirectedRequest.

    Any site can point its own name at this machine (DNS rebinding). Its pages could then read all
    answers, but the browser still sends that name as Host. DNS cannot redirect an IP address, and
    browsers always send a Host. allowed: names; `.name` with its subdomains; `*` for any.
    """
    host = request.headers.get("Host", "").lower()
    if "Host" not in request.headers or "*" in allowed or host_is_trusted(host, allowed):
        return
    if host_is_trusted(host) and address_of(host):
        return
    raise MisdirectedRequest(
        f"This service does not answer to the host '{host}'. Use its IP address or localhost, or "
        "add the name to ALLOWED_HOSTS. A proxy must pass the Host header on unchanged."
    )


def check_origin(request: Request, origins: Collection[str]) -> None:
    """Refuse a picture or WebSocket from another site's page; raises Forbidden.

    Browsers send the page's origin, and pages cannot change it; other programs need not send one.
    The service's own page has the Host's origin, or the browser marks it same-origin; the latter
    also works where a proxy changed the Host. origins: allowed origins of other sites.
    """
    # Reads are safe: the browser hides the answer from other sites unless CORS allows it.
    if request.method in SAFE and "Upgrade" not in request.headers:
        return
    origin = request.headers.get("Origin", "").lower()
    if origin in origins:
        return
    if site := request.headers.get("Sec-Fetch-Site"):
        own = site in {"same-origin", "none"}  # none: the user's own action, not a page's
    else:
        own = not origin or origin.partition("://")[2] == request.headers.get("Host", "").lower()
    if not own:
        raise Forbidden(
            f"Pages of {origin or 'other sites'} may not use this service. Use the service's own "
            "page, or add that page's origin to CORS_ORIGINS."
        )


@lru_cache(MOST_CACHED)
def address_of(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the IP address in `192.0.2.1`, `192.0.2.1:80`, `::1`, `[::1]` or `[::1]:80`."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        pass
    try:
        return ipaddress.ip_address(urlsplit(f"//{text}").hostname or "")
    except ValueError:
        return None
