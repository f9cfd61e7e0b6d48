"""Available and required memory, and which client makes room when the buffers are full."""

from pathlib import Path

import pytest

from service.buffers import Buffers
from service.config import Config, ConfigError
from service.inference import Overloaded
from service.memory import LEAST, MB, available, needed, warning


class Client:
    """A client that holds bytes; ended counts how often it was cut off."""

    def __init__(self, buffers: Buffers, size: int = 0) -> None:
        self.ended = 0
        self.loan = buffers.open(self.end)
        self.loan.await_client()
        self.loan.resize(size)

    def end(self) -> None:
        self.ended += 1


def test_the_client_that_is_waited_for_the_longest_makes_room() -> None:
    buffers = Buffers(10 * MB)
    small, *clients = (Client(buffers, size) for size in (1000, 4 * MB, 4 * MB))
    newest = Client(buffers, 4 * MB)
    assert [each.ended for each in (small, *clients, newest)] == [0, 1, 0, 0]
    assert buffers.held == 8 * MB + 1000
    for each in (small, *clients, newest):
        each.loan.close()
    assert buffers.held == 0


def test_bytes_that_are_worked_on_make_no_room() -> None:
    buffers = Buffers(10 * MB)
    working = [Client(buffers, 5 * MB) for _ in range(2)]
    for each in working:
        each.loan.waiting_since = None
    with pytest.raises(Overloaded), buffers.lend() as loan:
        loan.resize(1 * MB)
    assert [each.ended for each in working] == [0, 0]
    assert buffers.held == 10 * MB
    working[0].loan.resize(4 * MB)
    with buffers.lend() as loan:
        loan.resize(1 * MB)
    assert buffers.held == 9 * MB


@pytest.mark.parametrize(
    ("file", "text"),
    [("memory.max", "300000000\n"), ("memory/memory.limit_in_bytes", "300000000\n")],
)
def test_a_container_s_limit_counts(tmp_path: Path, file: str, text: str) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(text)
    assert available(tmp_path) == 300 * MB


@pytest.mark.parametrize("text", ["max", str(2**63 - 4096)])
def test_without_a_limit_it_is_the_machine_s(tmp_path: Path, text: str) -> None:
    (tmp_path / "memory.max").write_text(text)
    assert available(tmp_path) == available(tmp_path / "nothing") > 300 * MB


def test_too_little_memory_is_warned_of_and_far_too_little_is_refused() -> None:
    config = Config(INFERENCE_SLOTS=2)
    assert warning(config, needed(config)) == ""
    told = warning(config, needed(config) - 64 * MB)
    assert "Give it more" in told
    pixels = int(told.split("MAX_PIXELS=")[1].rstrip("."))
    smaller = Config(INFERENCE_SLOTS=2, MAX_PIXELS=pixels)
    assert warning(smaller, needed(config) - 64 * MB) == ""
    with pytest.raises(ConfigError, match="at least"):
        warning(config, LEAST - 1)
