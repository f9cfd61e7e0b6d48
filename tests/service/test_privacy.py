"""No frame is stored: strace sees each file that the real service opens for writing.

strace covers every thread and library, whatever the file's name and however soon it is
unlinked. The log is searched separately.
"""

import base64
import io
import json
import re
import resource
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest
import requests
from PIL import Image as PillowImage

from bench.servers import OURS, Server, running
from model.images import Image
from tests.conftest import ROOT, TIMEOUT_S, assert_clean, encoded, open_stream

pytestmark = pytest.mark.usefixtures("strace")

CALLS = (
    "?open,openat,?openat2,?creat,memfd_create,?mknod,mknodat,?rename,renameat,renameat2,connect"
)
STRACE = ("strace", "-D", "-f", "-qq", "-e", f"trace={CALLS}", "-s", "200", "-o")
CALL = re.compile(r"^\d+ +(\w+)\((.*)$")
# Gunicorn's heartbeat, in memory and always empty.
HEARTBEAT = re.compile(r'"heartbeat"')
# A setting of the kernel, not a file.
CORE_DUMPS = '"/proc/self/coredump_filter"'
WRITING = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TMPFILE|O_APPEND|O_TRUNC")


@contextmanager
def traced(folder: Path, *, app: str = "", **environ: str) -> Iterator[Server]:
    """Run the service under strace; at the end, check all files that it opened for writing."""
    trace = folder / "trace"
    command = [*STRACE, str(trace), *OURS, *([app] if app else [])]
    with running(command=command, LOG_LEVEL="debug", **environ) as server:
        yield server
        for process in server.processes():
            assert_nothing_is_held_open(process)
    assert_clean(server)
    said = trace.read_text().splitlines()
    calls = [match.groups() for line in said if (match := CALL.match(line))]
    opened = [text for name, text in calls if name.startswith("open") and WRITING.search(text)]
    assert [text for text in opened if '"/dev/null"' not in text and CORE_DUMPS not in text] == []
    others = [call for call in calls if not call[0].startswith("open")]
    beats = [call for call in others if call[0] == "memfd_create" and HEARTBEAT.match(call[1])]
    assert beats  # else strace would have seen nothing at all
    assert others == beats


def assert_nothing_is_held_open(process: psutil.Process) -> None:
    """Check that each file a process can write to is empty or its log."""
    for number in Path(f"/proc/{process.pid}/fd").iterdir():
        try:
            flags = Path(f"/proc/{process.pid}/fdinfo/{number.name}").read_text()
            mode = int(re.search(r"flags:\s+(\d+)", flags)[1], 8)
            if number.is_file() and mode & 3 and int(number.name) > 2:
                assert number.stat().st_size == 0, number.readlink()
        except FileNotFoundError:  # closed in the meantime
            continue


@pytest.fixture(scope="module")
def grainy(portrait: Image) -> Image:
    """Return the portrait with grain, so that the bytes of every part are unique."""
    grain = np.random.default_rng(7).integers(-20, 20, portrait.shape)
    return np.clip(portrait.astype(int) + grain, 0, 255).astype(np.uint8)


def pictures_of(image: Image) -> dict[str, bytes]:
    webp = io.BytesIO()
    PillowImage.fromarray(image).save(webp, "WEBP")
    return {
        "image/jpeg": encoded(image),
        "image/png": encoded(image, ".png"),
        "image/webp": webp.getvalue(),
    }


def patterns_of(image: Image) -> set[bytes]:
    """Return parts of a picture, in the usual encodings, that would show that it was kept."""
    sources = [*pictures_of(image).values(), image.tobytes(), image[..., ::-1].tobytes()]
    face = image[110:130, 190:250]
    sources += [face.tobytes(), face[..., ::-1].tobytes()]
    patterns: set[bytes] = set()
    for source in sources:
        # Parts from many places, since only a piece may have been kept.
        for begin in range(0, len(source) - 24, max(1, len(source) // 200)):
            part = source[begin : begin + 12]
            patterns |= {part, part.hex().encode(), repr(part)[2:-1].encode()}
            patterns |= {base64.b64encode(source[begin + i : begin + i + 12]) for i in range(3)}
    return {pattern for pattern in patterns if len(set(pattern)) > 5}


def assert_discreet(said: str, image: Image, boxes: list[dict[str, int]]) -> None:
    """Check that a text contains no part of a picture and no box's four numbers."""
    written = said.encode("utf-8", "surrogateescape")
    found = [pattern for pattern in patterns_of(image) if pattern in written]
    assert found == []
    assert boxes
    for box in boxes:
        numbers = (box["x"], box["y"], box["width"], box["height"])
        assert not re.search(r"\b" + r"\D{1,14}".join(map(str, numbers)) + r"\b", said)


# A picture is judged in spite of these; other bytes are refused.
LABELS = ("text/plain", "application/json", "multipart/form-data; boundary=face")


def send_in_every_way(url: str, image: Image) -> list[dict[str, int]]:
    """Send a picture in every way, whole and broken; return the boxes of the faces."""
    boxes = []
    large = encoded(np.concatenate([image, image, image]), ".png")
    assert len(large) > 1_000_000  # far above the size at which Werkzeug writes uploads to disk
    for kind, picture in (*pictures_of(image).items(), ("image/png", large)):
        half = picture[: len(picture) // 2]
        ways = [
            {"data": picture, "headers": {"Content-Type": kind}},
            {"data": iter([half, picture[len(half) :]]), "headers": {"Content-Type": kind}},
            {"files": {"image": ("face.jpg", picture, kind)}},
            {"json": {"image": base64.b64encode(picture).decode()}},
            {"data": {"image": base64.b64encode(picture).decode()}},
            *({"data": picture, "headers": {"Content-Type": label}} for label in LABELS),
        ]
        for way in ways:
            answer = requests.post(f"{url}/predict", timeout=TIMEOUT_S, **way)
            assert answer.status_code == 200
            boxes += [face["box"] for face in answer.json()["faces"]]
        annotated = requests.post(f"{url}/predict?annotate=true", timeout=TIMEOUT_S, **ways[2])
        assert annotated.headers["Content-Type"] == "image/jpeg"
        for broken in (
            {"data": half, "headers": {"Content-Type": kind}},
            *({"data": picture[1:], "headers": {"Content-Type": label}} for label in LABELS),
            {"data": picture, "headers": {"Content-Encoding": "gzip"}},
            {"data": {"picture": base64.b64encode(picture).decode()}},
            {"files": {"image": half}},
            {"files": {"other": picture}},
            {"json": {"image": base64.b64encode(half).decode()}},
            {"json": {"picture": base64.b64encode(picture).decode()}},
        ):
            assert (
                400
                <= requests.post(f"{url}/predict", timeout=TIMEOUT_S, **broken).status_code
                < 500
            )
    with open_stream(url) as stream:
        for frame in (*pictures_of(image).values(), half, base64.b64encode(half).decode()):
            stream.send(frame)
            answered = json.loads(stream.recv(TIMEOUT_S))
            boxes += [face["box"] for face in answered.get("faces", [])]
    return boxes


def test_nothing_of_a_frame_is_written_or_logged(tmp_path: Path, grainy: Image) -> None:
    with traced(tmp_path, MAX_BODY_BYTES="3000000") as server:
        boxes = send_in_every_way(server.url, grainy)
        too_large = {"image": np.random.default_rng(7).bytes(4_000_000)}
        refused = requests.post(f"{server.url}/predict", files=too_large, timeout=TIMEOUT_S)
        assert refused.status_code == 413
    assert_discreet(server.said(), grainy, boxes)


@pytest.mark.parametrize("form", ["text", "json"])
def test_nothing_is_logged_of_a_frame_on_which_the_pipeline_fails(
    tmp_path: Path, grainy: Image, form: str, server_url: str
) -> None:
    headers = {"Content-Type": "image/png"}
    picture = encoded(grainy, ".png")  # lossless, so that the search knows the pixels
    whole = requests.post(f"{server_url}/predict", picture, headers=headers, timeout=TIMEOUT_S)
    app = "tests.service.faulty:from_environ()"
    with traced(tmp_path, app=app, LOG_FORMAT=form) as server:
        url = server.url
        answer = requests.post(f"{url}/predict", picture, headers=headers, timeout=TIMEOUT_S)
        assert answer.status_code == 500
        with open_stream(url) as stream:
            stream.send(picture)
            assert json.loads(stream.recv(TIMEOUT_S))["status"] == 500
    said = server.said()
    boxes = [face["box"] for face in whole.json()["faces"]]
    assert_discreet(said, grainy, boxes)
    assert_discreet(answer.text, grainy, boxes)
    # The log names the place and the kind of the failure.
    assert "builtins.KeyError" in said
    assert "then builtins.ValueError" in said
    assert "faulty.py" in said
    assert answer.json()["request_id"] in said


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's rules for core dumps are Linux's")
def test_nothing_is_left_of_a_frame_when_the_worker_crashes(grainy: Image) -> None:
    before = cores()
    # The service is started with core dumps allowed, which contain all memory.
    allowing = ("sh", "-c", 'ulimit -c unlimited && exec "$0" "$@"', *OURS)
    if resource.getrlimit(resource.RLIMIT_CORE)[1] != resource.RLIM_INFINITY:
        pytest.skip("may not allow core dumps here")
    with running(command=allowing, LOG_LEVEL="debug") as server:
        url = server.url
        answer = until_answered(url, encoded(grainy))
        master, worker = server.processes()
        for process in (master, worker):
            limits = Path(f"/proc/{process.pid}/limits").read_text()
            assert re.search(r"Max core file size +0 +0 ", limits)
            # No memory goes into a dump that is piped to a program.
            assert int(Path(f"/proc/{process.pid}/coredump_filter").read_text(), 16) == 0
        worker.send_signal(signal.SIGSEGV)
        again = until_answered(url, encoded(grainy))
    assert again.json()["faces"] == answer.json()["faces"]
    assert "was sent SIG" in server.said()
    assert cores() == before
    assert_discreet(server.said(), grainy, [face["box"] for face in answer.json()["faces"]])


def cores() -> set[Path]:
    """Return the core dumps in the folder where the kernel writes them."""
    pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    folder = Path(pattern).parent if pattern.startswith("/") else ROOT
    return {file for file in folder.glob("core*") if file.is_file()}


def until_answered(url: str, picture: bytes) -> requests.Response:
    """Send a picture until a worker answers it."""
    for _ in range(300):
        try:
            headers = {"Content-Type": "image/jpeg"}
            return requests.post(f"{url}/predict", picture, headers=headers, timeout=TIMEOUT_S)
        except requests.ConnectionError:
            time.sleep(0.1)
    raise AssertionError("no worker answered")
