"""One budget for the bytes held on behalf of clients: bodies, stream messages and answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service.inference import Overloaded

LARGE = 65_536  # bytes; ending a smaller loan would not help


class Loan:
    """The bytes held for one request or stream.

    waiting_since: when the current wait for the client started (monotonic seconds), None if none.
    """

    def __init__(self, buffers: Buffers, end: Callable[[], object] | None) -> None:
        self.size = 0
        self.waiting_since: float | None = None
        self.end = end
        self._buffers = buffers

    def resize(self, size: int) -> None:
        """Hold `size` bytes; raises Overloaded if the budget has no room for them."""
        self._buffers.held += size - self.size
        self.size = size
        self._buffers.make_room(self)

    def await_client(self) -> None:
        """Record that the service now waits for the client only, so the loan may be ended."""
        self.waiting_since = time.monotonic()

    def close(self) -> None:
        """Release all bytes of the loan."""
        self._buffers.forget(self)


class Buffers:
    """The budget of one process. held: bytes of all loans together."""

    def __init__(self, most: int) -> None:
        self.held = 0
        self._most = most
        self._loans: set[Loan] = set()

    def open(self, end: Callable[[], object] | None = None) -> Loan:
        """Open a loan; the caller closes it. end: stops the wait for the client."""
        loan = Loan(self, end)
        self._loans.add(loan)
        return loan

    @contextmanager
    def lend(self, end: Callable[[], object] | None = None) -> Iterator[Loan]:
        """Open a loan and close it when the block ends."""
        loan = self.open(end)
        try:
            yield loan
        finally:
            loan.close()

    def forget(self, loan: Loan) -> None:
        """Release all bytes of a loan and forget it."""
        self._loans.discard(loan)
        self.held -= loan.size
        loan.size = 0

    def make_room(self, newest: Loan) -> None:
        """End large loans until the budget holds, starting with the longest wait for a client.

        Raises Overloaded if that reaches the newest loan, or if no other loan can be ended.
        """
        while self.held > self._most:
            slow = [
                loan
                for loan in self._loans
                if loan.waiting_since is not None and loan.end is not None and loan.size > LARGE
            ]
            loan = min(slow, key=lambda each: each.waiting_since or 0.0, default=newest)
            self.forget(loan)
            if loan is newest:
                raise Overloaded(
                    "The memory for request bodies is full. Try again in a second.", "memory"
                )
            if loan.end is not None:
                loan.end()
