"""Run the service short of disk, /dev/shm, memory, weights or port, or with a jumping clock.

    python -m bench.hardening.shortage

It must keep working, or exit with a message that says what to do.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import SkipTest

import requests
from PIL import Image
from rich.progress import track

from bench.hardening.engine import build, docker, lacking, logs
from bench.hardening.load import FRAME
from bench.hardening.rows import Row, command
from bench.servers import OURS, ROOT, free_port, running
from model.headers import MOST_UNPACKED
from service import memory
from service.config import Config

IMAGE = "facemask:test"
MB = 1_000_000
SHORT = 64 * MB
# Runs gunicorn with a wall clock that is offset by the seconds in a file, as when a machine's clock
# is set. libfaketime is not used, because it would also change the monotonic clock used for waits.
CLOCK = """
import os, pathlib, runpy, sys, time
true_ns, file = time.time_ns, pathlib.Path(os.environ["CLOCK"])
time.time_ns = lambda: true_ns() + int(file.read_text() or 0) * 10**9
time.time = lambda: time.time_ns() / 1e9
sys.argv = sys.argv[3:]
runpy.run_module("gunicorn", run_name="__main__", alter_sys=True)
"""
DAY_S = 86_400
FILL = "for d in /tmp /dev/shm; do cat /dev/zero > $d/full; done 2>/dev/null; exec "
START = "python3 -m gunicorn -c docker/gunicorn.conf.py"
CLEAN = ("Traceback", "was sent SIG")


def post(url: str, data: bytes = FRAME, kind: str = "image/jpeg", key: str = "") -> int:
    """Send a picture and return the status of the answer, 0 if there is none."""
    headers = {"Content-Type": kind} | ({"X-API-Key": key} if key else {})
    try:
        return requests.post(f"{url}/predict", data, headers=headers, timeout=60).status_code
    except requests.RequestException:
        return 0


def clean(said: str) -> bool:
    """Return whether the service's output shows no crash."""
    return not any(sign in said for sign in CLEAN)


def ends(test: str, words: str, **how: object) -> Row:
    """Check that a service that cannot start exits by itself with a message with these words."""
    with running(wait=False, **how) as server:  # type: ignore[arg-type]
        try:
            code: int | None = server.process.wait(120)
        except Exception:  # noqa: BLE001 (it keeps running)
            code = None
    told = next((line for line in server.said().splitlines() if words in line), "no such message")
    met = code not in {0, None} and words in server.said() and clean(server.said())
    return Row(test, "exits with a message that says what to do", f"exit {code}: {told}", met)


def port_in_use() -> Iterator[Row]:
    """Start a second service on the port of the first one, which must not be affected."""
    with running() as first:
        yield ends("port in use", "set HOST, PORT or METRICS_PORT", PORT=str(first.port))
        status = post(first.url)
    yield Row("port in use", "the first keeps answering", f"status {status}", status == 200)


def truncate(weights: Path) -> None:
    """Cut off the second half of a file."""
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])


def spoil(weights: Path) -> None:
    """Change one bit in the middle of a file."""
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)


def damaged_weights() -> Iterator[Row]:
    """Start copies of the service with damaged, truncated or missing weights."""
    damages: tuple[tuple[str, Callable[[Path], None]], ...] = (
        ("one bit is flipped", spoil),
        ("the second half is missing", truncate),
        ("the file is missing", Path.unlink),
    )
    for name, damage in damages:
        with tempfile.TemporaryDirectory() as scratch:
            for part in ("service", "model", "docker"):
                ignored = shutil.ignore_patterns("__pycache__", "training", "report")
                shutil.copytree(ROOT / part, Path(scratch) / part, ignore=ignored)
            damage(Path(scratch) / "model/weights/mask_detector.onnx")
            yield ends(f"weights: {name}", "Restore model/weights", folder=Path(scratch))


def full_log() -> Iterator[Row]:
    """Write the log to a full disk."""
    prefix = ("sh", "-c", 'exec "$@" 2>/dev/full', "sh")
    with running(command=(*prefix, *OURS), LOG_LEVEL="debug") as server:
        found = Counter(post(server.url) for _ in range(20))
    code = server.process.returncode
    yield Row(
        "the log's disk is full",
        "keeps answering, and exits with 0",
        f"{dict(found)}, exit {code}",
        found == {200: 20} and code == 0,
    )


def clock_jump() -> Iterator[Row]:
    """Set the clock a day ahead, then two days back, while rate limits and keys are in use."""
    keys = ["first", "second", "third"]
    with tempfile.TemporaryDirectory() as scratch:
        clock, filed = Path(scratch) / "clock", Path(scratch) / "keys"
        clock.write_text("0")
        filed.write_text(hashlib.sha256(keys[0].encode()).hexdigest())
        with running(
            command=(sys.executable, "-c", CLOCK, *OURS),
            CLOCK=str(clock),
            API_KEYS_FILE=str(filed),
            RATE_LIMIT="1",
            LOG_FORMAT="json",
        ) as server:
            found = []
            for key, jump in zip(keys, (0, DAY_S, -DAY_S), strict=True):
                clock.write_text(str(jump))
                filed.write_text(hashlib.sha256(key.encode()).hexdigest())
                statuses = [post(server.url, key=key) for _ in range(2)]
                more = (post(server.url, key=key) for _ in range(100))
                # Two at once are allowed; a slow machine sends more before one is refused.
                statuses.append(next((s for s in more if s != 200), 200))
                statuses.append(post(server.url, key="another"))
                time.sleep(1.5)  # by now a worker that seemed silent would be killed
                found.append([*statuses, post(server.url, key=key)])
        said, code = server.said(), server.process.returncode
    days = {line[10:20] for line in said.splitlines() if line.startswith('{"time"')}
    yield Row(
        "clock jump: a day ahead, two back",
        "rate limit, keys file and worker are not affected",
        f"{found}, {len(days)} dates in the log, exit {code}",
        found == [[200, 200, 429, 401, 200]] * 3 and len(days) == 3 and code == 0 and clean(said),
    )


@contextmanager
def container(*options: str, command: str = START) -> Iterator[tuple[str, str]]:
    """Run the image as a non-root user with a read-only root; yields its name and URL."""
    name = f"maskshortage{free_port()}"
    try:
        docker(
            *("run", "--detach", "--name", name, "--init", "--read-only", "--cap-drop", "ALL"),
            *("--security-opt", "no-new-privileges", "--cpus", "2", *options),
            *(IMAGE, "sh", "-c", command),
        )
        address = docker("inspect", "--format", "{{.NetworkSettings.IPAddress}}", name).strip()
        yield name, f"http://{address}:8000"
    finally:
        docker("rm", "--force", name)


def ready(name: str, url: str) -> bool:
    """Wait until a container is ready; returns False if it exits or takes over half a minute."""
    for _ in range(150):
        if docker("inspect", "--format", "{{.State.Running}}", name).strip() != "true":
            return False
        try:
            if requests.get(f"{url}/readyz", timeout=2).status_code == 200:
                return True
        except requests.RequestException:
            pass
        time.sleep(0.2)
    return False


def works(test: str, *options: str, command: str = START) -> Row:
    """Check that a container that lacks something answers frames."""
    with container(*options, command=command) as (name, url):
        found = Counter(post(url) for _ in range(20)) if ready(name, url) else Counter[int]()
        said = logs(name)
    told = "" if clean(said) else f"; its log: {said[-200:]}"
    return Row(test, "keeps answering", f"{dict(found)}{told}", found == {200: 20} and clean(said))


def without_disk() -> Iterator[Row]:
    """Run with no writable place, and with full disks."""
    yield works("no /dev/shm, nothing writable", "--ipc", "none")
    yield works(
        *("full disk", "--tmpfs", "/tmp:size=4k,mode=1777", "--shm-size", "4k"),  # noqa: S108 (the container's)
        command=FILL + START,
    )


def large_png(pixels: int) -> bytes:
    """Return a one-colour RGBA PNG, the kind that takes the most memory to decode."""
    side = int(pixels**0.5)
    buffer = io.BytesIO()
    Image.new("RGBA", (side, side), (9, 9, 9, 9)).save(buffer, "PNG")
    return buffer.getvalue()


def short_memory(rounds: int) -> Iterator[Row]:
    """Run with 64 MB less memory than a worker needs, and than large frames may need."""
    limit = str(memory.LEAST - SHORT)
    with container("--memory", limit, "--memory-swap", limit) as (name, _):
        code = docker("wait", name).strip()
        said = logs(name)
    told = next((line for line in said.splitlines() if "of memory" in line), "no such message")
    yield Row(
        "64 MB less memory than a worker needs",
        "exits with a message that says what to do",
        f"exit {code}: {told}",
        code == "1" and "Give it more" in told and clean(said),
    )
    config = Config.from_environ({"INFERENCE_SLOTS": "2"})
    large = large_png(min(config.MAX_PIXELS, MOST_UNPACKED // 4))
    for test, bytes_ in (
        ("64 MB less memory than large frames may need", memory.needed(config) - SHORT),
        ("as much memory as large frames may need", memory.needed(config) + MB),
    ):
        found: Counter[int] = Counter()
        with container("--memory", str(bytes_), "--memory-swap", str(bytes_)) as (name, url):
            begun = ready(name, url)
            asks = [(large, "image/png")] * 2 + [(FRAME, "image/jpeg")] * 2

            def send(url: str, data: bytes, kind: str, found: Counter[int]) -> None:
                for _ in range(rounds):
                    found[post(url, data, kind)] += 1

            threads = [threading.Thread(target=send, args=(url, *each, found)) for each in asks]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            said = logs(name)
        warned = "Give it more" in said
        enough = bytes_ > memory.needed(config)
        lived = clean(said)
        yield Row(
            test,
            "answers, no warning" if enough else "a warning that says what to do, and answers",
            f"{bytes_ // MB} MB: {dict(found)}, warned: {warned}, never killed: {lived}",
            begun and warned != enough and lived and found == {200: len(asks) * rounds},
        )


def run(rounds: int = 10, *, containers: bool = True) -> list[Row]:
    """Try every shortage.

    rounds: frames per client when memory is short. containers: also run the shortages that need
    Docker; skips if Docker is missing.
    """
    trials: list[Iterator[Row]] = [port_in_use(), damaged_weights(), full_log(), clock_jump()]
    if containers:
        if reason := lacking():
            raise SkipTest(reason)
        build(IMAGE)
        trials += [without_disk(), short_memory(rounds)]
    return [row for trial in track(trials, "shortages") for row in trial]


if __name__ == "__main__":
    command(
        run,
        __doc__,
        "--no-containers",
        rounds="frames per client when memory is short",
        containers="also run the shortages that need Docker",
    )
