"""WS /stream: a camera's frames in, one answer per frame out, one verdict per person."""

from __future__ import annotations

import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from flask import Blueprint, Response, current_app, g, request
from pydantic import BaseModel
from websockets.frames import CloseCode

from model.faces import DetectorUnavailable
from model.images import UndecodableImage
from model.tracking import Tracker
from service import errors, logs
from service.config import Config
from service.inference import InferencePool, TooManyStreams
from service.keys import Keys, key_protocol, refusal
from service.limits import RateLimit
from service.metrics import Metrics
from service.schemas import FrameProblem, StreamAnswer, StreamQuery
from service.websocket import Message, WebSocket


class Upgraded(Response):
    """Stands for a response where the WebSocket was all there is to send."""

    default_status = 101

    def __call__(self, *_: object) -> list[bytes]:
        """Make gunicorn close the connection without a response."""
        raise StopIteration


class Streams:
    """The open streams of this process, of which there may be only so many."""

    def __init__(self, most: int, most_per_client: int) -> None:
        self.stopping = threading.Event()
        self._most, self._most_per_client = most, most_per_client
        self._open: Counter[str] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def place(self, client: str) -> Iterator[None]:
        """Hold a place for a client's stream; raises TooManyStreams."""
        with self._lock:
            if self.stopping.is_set() or self._open.total() >= self._most:
                raise TooManyStreams(
                    "Too many streams are open. Try again later, or use POST /predict."
                )
            if self._open[client] >= self._most_per_client:
                raise TooManyStreams(
                    f"You have {self._most_per_client} streams open, as many as one client may. "
                    "Close one, or use POST /predict."
                )
            self._open[client] += 1
        try:
            yield
        finally:
            with self._lock:
                self._open[client] -= 1
                self._open += Counter()  # forgets who has none

    def end(self) -> None:
        """Close all streams with code 1001 and take no more."""
        self.stopping.set()


def create_stream(
    config: Config, pool: InferencePool, streams: Streams, keys: Keys, limit: RateLimit
) -> Blueprint:
    """Make the blueprint of /stream."""
    blueprint = Blueprint("stream", __name__)

    @blueprint.get("/stream", websocket=True)
    @blueprint.get("/stream")  # not asked for as a WebSocket, it says how to
    def stream() -> Response:
        query = StreamQuery.model_validate(request.args.to_dict())
        detector = query.detector or config.DETECTOR
        if detector not in pool.detectors:
            installed = ", ".join(pool.detectors)
            raise DetectorUnavailable(f"Detector '{detector}' is not installed; use {installed}.")
        confidence = query.min_confidence
        tracker = Tracker(
            detector,
            config.MIN_CONFIDENCE if confidence is None else confidence,
            max_faces=config.MAX_FACES,
        )

        def answer(message: Message) -> BaseModel:
            if g.key is not None and not keys.know(g.key):
                socket.close(CloseCode.POLICY_VIOLATION, "the API key does not count any more")
                raise refusal("This API key does not count any more.")
            limit.take(g.client)
            if isinstance(message.content, str):
                raise UndecodableImage("Send a picture as a binary message, not text.")
            begin = time.perf_counter()
            with pool.room.share() as admit, pool.next_pipeline() as pipeline:
                analysis = tracker.analyse(pipeline, message.content, config.MAX_PIXELS, admit)
            body = StreamAnswer.of_frame(
                g.request_id, pool.card, analysis, message.index, socket.dropped
            )
            metrics.answered(analysis, time.perf_counter() - begin)
            if traces := current_app.extensions.get("traces"):
                traces.frame(analysis)
            return body

        metrics: Metrics = current_app.extensions["metrics"]
        with streams.place(g.client):
            socket = WebSocket(
                *(request, config.MAX_BODY_BYTES, config.STREAM_IDLE_TIMEOUT, streams.stopping),
                protocol=key_protocol(request),
            )
            opened = {"request_id": g.request_id, "remote": request.remote_addr}
            logs.event("stream opened", **opened)
            try:
                with metrics.open_streams.track_inprogress():
                    converse(socket, answer, metrics)
            finally:
                socket.close(CloseCode.INTERNAL_ERROR)
                socket.join()
                counts = {"frames": socket.received, "dropped": socket.dropped}
                logs.event("stream closed", **counts, **opened)
                g.request_id = opened["request_id"]
        return Upgraded()

    return blueprint


def converse(socket: WebSocket, answer: Callable[[Message], BaseModel], metrics: Metrics) -> None:
    """Answer messages until the connection is closed; what is wrong with one ends nothing."""
    last = -1
    while (message := socket.take()) is not None:
        # The newest wins: those between the last and this one were dropped.
        metrics.stream_frames.inc(message.index - last)
        metrics.stream_dropped.inc(message.index - last - 1)
        last = message.index
        g.request_id = uuid.uuid4().hex
        try:
            body = answer(message)
        except Exception as error:  # noqa: BLE001 (errors.py tells which are foreseen)
            problem = errors.problem_of(error)
            body = FrameProblem(**problem.model_dump(), frame_id=message.index)
        socket.send(body.model_dump_json())
