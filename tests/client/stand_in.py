"""Stand-ins for the client's tests: a service, a camera, films, and a way to start the client.

The stand-in service fails on demand, which the real one cannot: it goes away and comes back,
is slow, or refuses one frame. It speaks the contract of POST /predict.
Nothing here is a fixture. Tests against the real service use run() and film() as well:

    film(tmp_path / "film.mp4", frames=10, fps=12)
    done = run("--url", url, "--source", str(tmp_path / "film.mp4"), "--no-window")
    assert done.returncode == 0
"""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import av
import cv2
import numpy as np
from skimage.data import astronaut

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 120  # of every wait: far more than a busy machine needs
SIZE = (320, 240)
BITS = 10
BLOCK = 16
FACE = {
    "id": 0,
    "box": {"x": 120, "y": 60, "width": 80, "height": 100},
    "detection_confidence": 0.98,
    "label": "mask",
    "probabilities": {"mask": 0.97, "no_mask": 0.03},
}


def picture(number: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Return the portrait, BGR, with a number encoded along its top in black and white blocks."""
    pixels = cv2.resize(cv2.cvtColor(astronaut(), cv2.COLOR_RGB2BGR), size)
    for bit in range(BITS):
        pixels[:BLOCK, bit * BLOCK : (bit + 1) * BLOCK] = 255 * (number >> bit & 1)
    return pixels


def number_of(pixels: np.ndarray) -> int:
    """Read the number that picture() encoded."""
    blocks = pixels[4 : BLOCK - 4, : BITS * BLOCK].reshape(BLOCK - 8, BITS, BLOCK, 3)
    return sum(1 << bit for bit in range(BITS) if blocks[:, bit, 4:-4].mean() > 127)


def film(path: Path, frames: int, fps: float, size: tuple[int, int] = SIZE) -> Path:
    """Write a film of numbered pictures."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, size)
    assert writer.isOpened()
    for number in range(frames):
        writer.write(picture(number, size))
    writer.release()
    return path


def uneven_film(path: Path, times: list[float]) -> Path:
    """Write a film of numbered pictures that are shown at the given seconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"bf": "2"})
        stream.width, stream.height = SIZE
        stream.codec_context.time_base = stream.time_base = Fraction(1, 90_000)
        for number, at_s in enumerate(times):
            frame = av.VideoFrame.from_ndarray(picture(number), format="bgr24")
            frame.pts, frame.time_base = round(at_s * 90_000), Fraction(1, 90_000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def frames_of(path: Path) -> tuple[list[np.ndarray], float]:
    """Read a whole film; returns its frames and its frame rate."""
    capture = cv2.VideoCapture(str(path))
    fps, frames = capture.get(cv2.CAP_PROP_FPS), []
    while (read := capture.read())[0]:
        frames.append(read[1])
    capture.release()
    return frames, fps


def times_of(path: Path) -> list[float]:
    """Return when each frame of a film is shown, in seconds from its start."""
    with av.open(str(path)) as container:
        start_s = (container.start_time or 0) / av.time_base
        return [frame.time - start_s for frame in container.decode(video=0)]


def lines_of(path: Path) -> list[dict]:
    """Read the complete lines of a file; the last one may still be being written."""
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def wait_for(condition: Callable[[], object], what: str) -> None:
    until = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < until, f"waited in vain for {what}"
        time.sleep(0.02)


def start(
    *arguments: str,
    stderr: int = subprocess.PIPE,
    folder: Path = ROOT,
    most_bytes: int = resource.RLIM_INFINITY,
    **environment: str,
) -> subprocess.Popen:
    """Start the client; a test that does not wait for it to exit sends it a signal.

    most_bytes: the largest file it can write, to imitate a full disk.
    """
    variables = {**os.environ, "NO_PROXY": "127.0.0.1", "PYTHONPATH": str(ROOT), **environment}
    command = [sys.executable, "-W", "error", "-m", "client", *arguments]
    client = subprocess.Popen(
        command, cwd=folder, env=variables, stdout=subprocess.PIPE, stderr=stderr, text=True
    )
    resource.prlimit(client.pid, resource.RLIMIT_FSIZE, (most_bytes, resource.RLIM_INFINITY))
    return client


def finish(client: subprocess.Popen, number: int | None = None) -> subprocess.CompletedProcess:
    """Wait until the client exits; number: a signal to send first."""
    if number is not None:
        client.send_signal(number)
    try:
        out, err = client.communicate(timeout=TIMEOUT_S)
    finally:
        client.kill()
    assert "Traceback" not in (err or ""), err
    return subprocess.CompletedProcess(client.args, client.returncode, out, err)


def run(*arguments: str, **how: object) -> subprocess.CompletedProcess:
    """Run the client until it exits; how: options of start()."""
    return finish(start(*arguments, **how))


def interrupt(client: subprocess.Popen) -> subprocess.CompletedProcess:
    return finish(client, signal.SIGINT)


class Quiet(BaseHTTPRequestHandler):
    """A handler that logs nothing, to keep the output of the tests clean."""

    def log_message(self, *_: object) -> None:
        """Drop the line."""


class Server(ThreadingHTTPServer):
    """An HTTP server that also closes its clients' connections when it stops."""

    daemon_threads = True
    connected: set[socket.socket]

    def process_request(self, request: socket.socket, client_address: tuple) -> None:
        self.connected.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: socket.socket) -> None:
        self.connected.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: socket.socket, client_address: tuple) -> None:
        """Ignore it: clients hang up in these tests."""


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler], port: int = 0) -> Iterator[int]:
    """Serve on a local port and yield the port."""
    server = Server(("127.0.0.1", port), handler)
    server.connected = set()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        for connection in list(server.connected):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        thread.join()


class Service:
    """A stand-in service, whose state outlives a stop and start of its server.

    numbers, sizes, queries, times: of each frame received, in order. keys: each X-API-Key.
    most_at_once: most requests in flight. faces: what it answers. delay_s: time per answer.
    failures: other answers, by the number of the request: (status, headers, body).
    """

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.sizes: list[tuple[int, int]] = []
        self.bodies: list[bytes] = []
        self.queries: list[dict[str, list[str]]] = []
        self.times: list[float] = []
        self.keys: list[str | None] = []
        self.faces = [FACE]
        self.most_at_once = 0
        self.delay_s = 0.0
        self.failures: dict[int, tuple[int, dict[str, str], bytes]] = {}
        self._at_once = 0
        self._lock = threading.Lock()

    def serving(self, port: int = 0):
        """Serve until the with block ends; yield the port."""
        service = self

        class Handler(Quiet):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                service.keys.append(self.headers["X-API-Key"])
                with service._lock:
                    service._at_once += 1
                    service.most_at_once = max(service.most_at_once, service._at_once)
                try:
                    answer = service.answer(self.path, self.headers["Content-Type"], body)
                    time.sleep(service.delay_s)
                finally:
                    with service._lock:
                        service._at_once -= 1
                status, headers, content = answer
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

        return serving(Handler, port)

    def answer(self, path: str, kind: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        count = len(self.numbers)
        pixels = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR)
        height, width = pixels.shape[:2]
        self.times.append(time.monotonic())
        self.bodies.append(body)
        self.sizes.append((width, height))
        self.queries.append(parse_qs(urlsplit(path).query))
        self.numbers.append(number_of(pixels) if min(width // BITS, height) >= BLOCK else -1)
        if count in self.failures:
            return self.failures[count]
        if urlsplit(path).path != "/predict" or kind != "image/jpeg":
            return problem(404, "Not Found", "no such place")
        content = {
            "request_id": f"request-{count}",
            "model": {"name": "stand-in", "version": "0", "detector": "yunet"},
            "image": {"width": width, "height": height},
            "faces": self.faces,
            "summary": {"mask": 1, "no_mask": 0, "uncertain": 0},
            "faces_left_out": 0,
            "timings_ms": {"decode": 1.0, "detect": 1.0, "classify": 1.0},
        }
        return 200, {"Content-Type": "application/json"}, json.dumps(content).encode()


def problem(
    status: int, title: str, detail: str, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    content = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    kind = {"Content-Type": "application/problem+json"}
    return status, {**kind, **named}, json.dumps({**content, "request_id": "1"}).encode()


def camera(port: int = 0, fps: float = 30, sent: list[int] | None = None):
    """Serve an emulated camera, MJPEG over HTTP, at any path until the end of the with block.

    sent: gets the number of each frame.
    """
    counted = iter(range(1 << BITS))

    class Handler(Quiet):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            for number in counted:
                jpeg = cv2.imencode(".jpg", picture(number))[1].tobytes()
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                self.wfile.write(head.encode() + jpeg + b"\r\n")
                if sent is not None:
                    sent.append(number)
                time.sleep(1 / fps)

    return serving(Handler, port)


def dropped(done: subprocess.CompletedProcess) -> int:
    """Read the count of dropped frames out of the client's last line."""
    return int(re.search(r"(\d+) dropped", done.stdout)[1])
