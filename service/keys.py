"""API keys, stored as SHA-256 digests only; `python -m service.keys` makes one."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import threading
from collections.abc import Iterable
from pathlib import Path

from flask import Request, current_app
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Unauthorized

from service.config import ConfigError
from service.limits import RateLimit, network_of

DIGEST = re.compile(r"[0-9a-f]{64}")
PROTOCOL = "key."  # prefix of a key that is sent as a WebSocket subprotocol
WRONG_A_MINUTE = 10  # wrong keys that an address may try; they may come all at once
HOW_TO_SEND = "Send it in the header 'X-API-Key', or as 'Authorization: Bearer'."


class Keys:
    """The digests of the valid keys: fixed ones, and those of a file that may change."""

    def __init__(self, fixed: Iterable[str] = (), file: Path | None = None) -> None:
        """Read the file, if given; raises ConfigError if it is unreadable or has a bad line."""
        self._fixed = frozenset(fixed)
        self._filed: frozenset[str] = frozenset()
        self._file = file
        self._state: tuple[int, ...] | None = None
        self._lock = threading.Lock()
        self._wrong = RateLimit(
            WRONG_A_MINUTE / 60, 60, f"More than {WRONG_A_MINUTE} wrong API keys a minute."
        )
        self.needed = bool(self._fixed) or file is not None
        if complaint := self._refresh():
            raise ConfigError(complaint)

    def client(self, request: Request) -> str | None:
        """Return the digest of a request's key, None if the service requires no key.

        A valid key is always accepted, even after many wrong ones from the same address. Otherwise
        anyone at that address could lock out the key's owner. Raises Unauthorized, and
        TooManyRequests after WRONG_A_MINUTE wrong keys.
        """
        if not self.needed:
            return None
        key = sent_key(request)
        if key is None:
            raise refusal(f"This service requires an API key. {HOW_TO_SEND}")
        digest = digest_of(key)
        if not self.know(digest):
            self._wrong.take(network_of(request.remote_addr))
            raise refusal("This API key is unknown or was withdrawn. Use a valid one.")
        return digest

    def know(self, digest: str) -> bool:
        """Return whether a digest is valid; the time this takes does not reveal which key it is."""
        self._reread()
        found = False
        for known in self._fixed | self._filed:
            found |= hmac.compare_digest(known, digest)
        return found

    @property
    def unreadable(self) -> bool:
        """Whether the file cannot be read at the moment; the last keys read then stay valid."""
        self._reread()
        return self._state == ()

    def _reread(self) -> None:
        if complaint := self._refresh():
            current_app.logger.error(complaint)

    def _refresh(self) -> str:
        """Read the file if it changed; return what is wrong with it, once per change."""
        if self._file is None:
            return ""
        with self._lock:
            try:
                stat = self._file.stat()
                state = (stat.st_ino, stat.st_size, stat.st_ctime_ns)  # ctime: permissions too
                if state == self._state:
                    return ""
                lines = self._file.read_text().splitlines()
            except (OSError, ValueError) as error:
                # It may be in the middle of a replacement, so its last keys stay valid.
                known, self._state = self._state, ()
                reason = getattr(error, "strerror", None) or "it is not text"
                return "" if known == () else f"API_KEYS_FILE={self._file}: {reason}."
            self._state = state
            entries = [line.partition("#")[0].strip().lower() for line in lines]
            self._filed = frozenset(entry for entry in entries if DIGEST.fullmatch(entry))
        bad = [n for n, entry in enumerate(entries, 1) if entry and not DIGEST.fullmatch(entry)]
        if not bad:
            return ""
        numbers = ", ".join(map(str, bad))
        return f"API_KEYS_FILE={self._file}: no SHA-256 digest (64 hex digits) in line {numbers}."


def digest_of(key: str) -> str:
    """Return the SHA-256 digest, in hex, of a key in WSGI's form: one character per byte."""
    return hashlib.sha256(key.encode("latin-1", "replace")).hexdigest()


def sent_key(request: Request) -> str | None:
    """Return the key of a request: from X-API-Key, Authorization or the WebSocket subprotocol."""
    if key := request.headers.get("X-API-Key"):
        return key
    authorization = request.authorization
    if authorization is not None and authorization.type == "bearer":
        return authorization.token
    protocol = key_protocol(request)
    return protocol and protocol.removeprefix(PROTOCOL)


def key_protocol(request: Request) -> str | None:
    """Return the subprotocol that holds a key; browsers cannot set headers of a WebSocket."""
    offered = request.headers.get("Sec-WebSocket-Protocol", "").split(",")
    protocols = (protocol.strip() for protocol in offered)
    return next((each for each in protocols if each.startswith(PROTOCOL)), None)


def refusal(detail: str) -> Unauthorized:
    """Make the answer to a request without a valid key."""
    return Unauthorized(detail, www_authenticate=WWWAuthenticate("bearer", {"realm": "facemask"}))


if __name__ == "__main__":
    new = secrets.token_urlsafe(32)
    print(f"key, for the client:    {new}")
    print(f"digest, for API_KEYS:   {digest_of(new)}")
