"""How much memory there is, how much is needed, and that large frames share it."""

import threading
from pathlib import Path

import pytest

from service.config import Config, ConfigError
from service.inference import SMALL, Room
from service.memory import LEAST, MB, available, needed, warning


def test_a_large_frame_waits_for_another_and_a_small_one_for_none() -> None:
    room = Room(50 * MB)
    admitted = threading.Event()

    def other() -> None:
        with room.share() as admit:
            admit(30 * MB)
            admitted.set()

    thread = threading.Thread(target=other)
    with room.share() as first:
        first(30 * MB)
        thread.start()
        assert not admitted.wait(0.3)
        with room.share() as small:
            small(SMALL)
    thread.join(10)
    assert admitted.is_set()
    with room.share() as whole:  # all of it has been given back
        whole(50 * MB)


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


def test_too_little_memory_is_told_and_none_at_all_is_refused() -> None:
    config = Config(INFERENCE_SLOTS=2)
    assert warning(config, needed(config)) == ""
    told = warning(config, needed(config) - 64 * MB)
    assert "Give it more" in told
    pixels = int(told.split("MAX_PIXELS=")[1].rstrip("."))
    smaller = Config(INFERENCE_SLOTS=2, MAX_PIXELS=pixels)
    assert warning(smaller, needed(config) - 64 * MB) == ""
    with pytest.raises(ConfigError, match="at least"):
        warning(config, LEAST - 1)
