"""API keys, of which only SHA-256 digests are known here; `python -m service.keys` makes one."""

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
PROTOCOL = "key."  # in front of the key where it comes as the subprotocol of a WebSocket
WRONG_A_MINUTE = 10  # keys that an address may try, also all at once
HOW_TO_SEND = "Send it in the header 'X-API-Key', or as 'Authorization: Bearer'."


class Keys:
    """The digests of the keys that let in: fixed ones, and those of a file that may change."""

    def __init__(self, fixed: Iterable[str] = (), file: Path | None = None) -> None:
        """Read the file, where there is one; raises ConfigError if it or a line of it is bad."""
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
        """Return the digest of a request's key, None where none is needed.

        A good key is always accepted, however many wrong ones came from its address: a limit that
        stopped it would let anyone there lock its holder out. Raises Unauthorized, and
        TooManyRequests after WRONG_A_MINUTE wrong keys.
        """
        if not self.needed:
            return None
        key = sent_key(request)
        if key is None:
            raise refusal(f"This service wants an API key. {HOW_TO_SEND}")
        digest = digest_of(key)
        if not self.know(digest):
            self._wrong.take(network_of(request.remote_addr))
            raise refusal("This API key is not known, or not any more.")
        return digest

    def know(self, digest: str) -> bool:
        """Tell whether a digest is one of the keys' in a time that says nothing about which."""
        self._reread()
        found = False
        for known in self._fixed | self._filed:
            found |= hmac.compare_digest(known, digest)
        return found

    @property
    def unreadable(self) -> bool:
        """Whether the file cannot be read now, so that the keys read last still count."""
        self._reread()
        return self._state == ()

    def _reread(self) -> None:
        if complaint := self._refresh():
            current_app.logger.error(complaint)

    def _refresh(self) -> str:
        """Read a file that changed; return what is wrong with it, once."""
        if self._file is None:
            return ""
        with self._lock:
            try:
                stat = self._file.stat()
                state = (stat.st_ino, stat.st_size, stat.st_ctime_ns)  # ctime: its rights too
                if state == self._state:
                    return ""
                lines = self._file.read_text().splitlines()
            except (OSError, ValueError) as error:
                # As at the moment when it is replaced: the keys that were in it stay.
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
    """Return the SHA-256 digest, in hex, of a key as WSGI hands it over: a byte a character."""
    return hashlib.sha256(key.encode("latin-1", "replace")).hexdigest()


def sent_key(request: Request) -> str | None:
    """Return the key that a request carries, in whichever of the three ways."""
    if key := request.headers.get("X-API-Key"):
        return key
    authorization = request.authorization
    if authorization is not None and authorization.type == "bearer":
        return authorization.token
    protocol = key_protocol(request)
    return protocol and protocol.removeprefix(PROTOCOL)


def key_protocol(request: Request) -> str | None:
    """Return the subprotocol that is a key: a browser can set no header of a WebSocket."""
    offered = request.headers.get("Sec-WebSocket-Protocol", "").split(",")
    protocols = (protocol.strip() for protocol in offered)
    return next((each for each in protocols if each.startswith(PROTOCOL)), None)


def refusal(detail: str) -> Unauthorized:
    """Make the answer to whoever has no key that counts."""
    return Unauthorized(detail, www_authenticate=WWWAuthenticate("bearer", {"realm": "facemask"}))


if __name__ == "__main__":
    new = secrets.token_urlsafe(32)
    print(f"key, for who asks:      {new}")
    print(f"digest, for API_KEYS:   {digest_of(new)}")
