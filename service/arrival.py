"""Where a request ends among the bytes that have come in of it.

Gunicorn's own parser judges requests; this only tells when it can without waiting for the client.
Where the two see different ends, the request is refused and nothing behind it is read: what one
takes for a body and the other for the next request is how requests are smuggled.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from gunicorn.http.body import Body, LengthReader
from gunicorn.http.errors import ChunkMissingTerminator, InvalidHeader, NoMoreData
from gunicorn.http.message import Request
from gunicorn.http.unreader import IterUnreader

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


@dataclass(frozen=True)
class Arrival:
    """A request that has arrived, in pieces for the parser.

    length: of the body, None where it comes in chunks. known: whether it is known where the request
    ends. oversized: whether the body is larger than allowed, and not all of it here.
    """

    pieces: Iterator[bytes]
    length: int | None
    known: bool
    oversized: bool

    def agree(self, req: Request) -> None:
        """Refuse what the parser ends elsewhere, and wrong chunks, before anything is answered.

        Raises ParseException.
        """
        if self.length is not None:
            reader = req.body.reader
            agreed = isinstance(reader, LengthReader) and reader.length == self.length
        else:
            try:
                body = req.body.read()
            except NoMoreData as error:
                raise ChunkMissingTerminator(b"") from error
            agreed = not req.unreader.take_buffered() and next(self.pieces, None) is None
            req.body = Body(LengthReader(IterUnreader([body]), len(body)))
        if not (agreed and self.known):
            raise InvalidHeader("CONTENT-LENGTH", req=req)


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

    def take(self) -> Arrival:
        """Return a request that has arrived, and forget it."""
        end = self._end or len(self._data)
        with memoryview(self._data) as data:
            head, body = bytes(data[: self._head or end]), bytes(data[self._head or end : end])
        pieces = (body[at : at + PIECE_BYTES] for at in range(0, len(body), PIECE_BYTES))
        arrival = Arrival(
            chain([CONTINUE.sub(b"", head)], pieces),
            None if self._chunked else self._length,
            self._end > 0,
            self.oversized,
        )
        del self._data[:end]
        self._start()
        return arrival

    def clear(self) -> None:
        """Forget all that came in."""
        self._data.clear()
        self._start()

    def _find_head(self) -> bool:
        at = self._data.find(END, max(0, self._searched - len(END) + 1))
        if at < 0:
            return False
        if at > HEAD_BYTES and self._data.find(b"\r\n") < HEAD_BYTES:
            raise HeadTooLarge  # however fast it came
        self._head = self._at = at + len(END)
        head = bytes(self._data[: self._head])
        length = LENGTH.search(head)
        self._length = int(length[1]) if length else 0
        self._chunked = CHUNKED.search(head) is not None
        has_body = self._chunked or 0 < self._length <= self._most_body
        old = head.lstrip().partition(b"\r\n")[0].endswith(b"HTTP/1.0")  # RFC 9110, 10.1.1
        self.awaits_continue = has_body and not old and CONTINUE.search(head) is not None
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
            if not data.startswith(b"\r\n", after - 2):
                return True
            self._in_chunks += count
            self._chunks += 1
            self._at = after
