"""Where a request ends among the bytes that have come in of it.

Gunicorn's own parser judges requests; this only tells when it can without waiting for the client.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

HEAD_BYTES = 65536  # gunicorn's own limits for lines and fields are far below
CHUNK_LINE_BYTES = 8190
MOST_CHUNKS = 20_000  # or a body of tiny chunks would cost seconds to read
PIECE_BYTES = 16_384  # the parser copies what is left of a piece with each chunk
END = b"\r\n\r\n"
LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,18})[ \t]*\r\n", re.IGNORECASE)
CHUNKED = re.compile(rb"\r\ntransfer-encoding:[^\r\n]*chunked[ \t]*\r\n", re.IGNORECASE)
CONTINUE = re.compile(rb"\r\nexpect:[ \t]*100-continue[ \t]*(?=\r\n)", re.IGNORECASE)
BARE_LINE_FEED = re.compile(rb"(?<!\r)\n")
CHUNK_SIZE = re.compile(rb"[0-9a-fA-F]{1,15}(?=[ \t;\r])")


class HeadTooLarge(ValueError):
    """The head of a request does not end within HEAD_BYTES."""


class Inbox:
    """What a connection has sent and nobody has taken yet: a request, or the begin of one.

    oversized: the body is, or will be, larger than allowed; the rest of it is not awaited.
    awaits_continue: the client sends the body when it is told to (once; to be reset by who tells).
    """

    def __init__(self, most_body: int) -> None:
        self._most_body = most_body
        self._data = bytearray()
        self._start()

    def __len__(self) -> int:
        return len(self._data)

    def _start(self) -> None:
        self.oversized = False
        self.awaits_continue = False
        self._searched = 0  # up to there is no end of the head
        self._head = 0  # its bytes, once they are all there
        self._length = 0
        self._chunked = False
        self._end = 0  # of the request, once it is there
        self._at = 0  # where the next chunk begins
        self._chunks = self._in_chunks = 0

    def add(self, data: bytes) -> None:
        """Take in what the client sent."""
        self._data += data

    def arrived(self) -> bool:
        """Tell whether a request is there, or is so wrong that the parser can say why.

        Raises HeadTooLarge.
        """
        if not self._head and not self._find_head():
            return self._is_broken()
        if self._length > self._most_body or self.oversized:
            self.oversized, self._end = True, len(self._data)
            return True
        if self._chunked:
            return self._chunks_arrived()
        self._end = self._head + self._length
        return len(self._data) >= self._end

    def take(self) -> Iterator[bytes]:
        """Return a request that has arrived in pieces, and forget it."""
        end = self._end or len(self._data)
        head = CONTINUE.sub(b"", self._data[: self._head or end])
        body = bytes(self._data[self._head : end]) if self._head else b""
        del self._data[:end]
        self._start()
        return iter(
            [head, *(body[at : at + PIECE_BYTES] for at in range(0, len(body), PIECE_BYTES))]
        )

    def _find_head(self) -> bool:
        at = self._data.find(END, max(0, self._searched - len(END) + 1))
        if at < 0:
            return False
        self._head = self._at = at + len(END)
        head = bytes(self._data[: self._head])
        length = LENGTH.search(head)
        self._length = int(length[1]) if length else 0
        self._chunked = CHUNKED.search(head) is not None
        has_body = self._chunked or 0 < self._length <= self._most_body
        self.awaits_continue = has_body and CONTINUE.search(head) is not None
        return True

    def _is_broken(self) -> bool:
        begin, self._searched = self._searched, len(self._data)
        if BARE_LINE_FEED.search(self._data, begin):
            return True
        if len(self._data) > HEAD_BYTES:
            if b"\r\n" in self._data:
                raise HeadTooLarge
            return True  # the parser says that the first line is too long
        return False

    def _chunks_arrived(self) -> bool:
        data = self._data
        while True:
            line = data.find(b"\r\n", self._at)
            if line < 0:
                return len(data) - self._at > CHUNK_LINE_BYTES
            size = CHUNK_SIZE.match(data, self._at, line + 1)
            if size is None:
                return True
            count = int(size[0], 16)
            if count == 0:  # trailers may follow, and an empty line ends them
                end = data.find(END, line)
                self._end = end + len(END) if end >= 0 else 0
                return end >= 0 or len(data) - line > HEAD_BYTES
            if self._in_chunks + count > self._most_body or self._chunks == MOST_CHUNKS:
                self.oversized, self._end = True, len(data)
                return True
            after = line + 2 + count + 2
            if len(data) < after:
                return False
            self._in_chunks += count
            self._chunks += 1
            self._at = after
