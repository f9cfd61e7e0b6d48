"""WS /stream: a camera's frames in, one answer per frame out, one verdict per person."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from flask import Blueprint, Response, current_app, g, request
from pydantic import BaseModel
from websockets.frames import CloseCode

from model.faces import DetectorUnavailable
from model.images import UndecodableImage
from model.tracking import Tracker
from service import errors
from service.config import Config
from service.inference import InferencePool, TooManyStreams
from service.keys import Keys, key_protocol, refusal
from service.limits import RateLimit
from service.schemas import FrameProblem, StreamAnswer, StreamQuery
from service.websocket import Message, WebSocket


class Upgraded(Response):
    """Stands for a response where the WebSocket was all there is to send."""

    def __call__(self, *_: object) -> list[bytes]:
        """Make gunicorn close the connection without a response."""
        raise StopIteration


class Streams:
    """The open streams of this process, of which there may be only so many."""

    def __init__(self, most: int) -> None:
        self.stopping = threading.Event()
        self._free = threading.BoundedSemaphore(most) if most else None

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place for a stream; raises TooManyStreams."""
        if self._free is None or self.stopping.is_set() or not self._free.acquire(blocking=False):
            raise TooManyStreams(
                "Too many streams are open. Try again later, or use POST /predict."
            )
        try:
            yield
        finally:
            self._free.release()

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
        tracker = Tracker(detector, config.MIN_CONFIDENCE if confidence is None else confidence)

        def answer(message: Message) -> BaseModel:
            if g.key is not None and not keys.know(g.key):
                socket.close(CloseCode.POLICY_VIOLATION, "the API key does not count any more")
                raise refusal("This API key does not count any more.")
            limit.take(g.client)
            if isinstance(message.content, str):
                raise UndecodableImage("Send a picture as a binary message, not text.")
            with pool.next_pipeline() as pipeline:
                analysis = tracker.analyse(pipeline, message.content, config.MAX_PIXELS)
            return StreamAnswer.of_frame(
                g.request_id, pool.card, analysis, message.index, socket.dropped
            )

        with streams.place():
            socket = WebSocket(
                *(request, config.MAX_BODY_BYTES, config.STREAM_IDLE_TIMEOUT, streams.stopping),
                origins=config.CORS_ORIGINS,
                protocol=key_protocol(request),
            )
            try:
                converse(socket, answer)
            finally:
                socket.close(CloseCode.INTERNAL_ERROR)
                socket.join()
                current_app.logger.info(
                    "Stream of %s: %d frames, %d of them dropped",
                    *(request.remote_addr, socket.received, socket.dropped),
                )
        return Upgraded()

    return blueprint


def converse(socket: WebSocket, answer: Callable[[Message], BaseModel]) -> None:
    """Answer messages until the connection is closed; what is wrong with one ends nothing."""
    while (message := socket.take()) is not None:
        g.request_id = uuid.uuid4().hex
        try:
            body = answer(message)
        except Exception as error:  # noqa: BLE001 (errors.py tells which are foreseen)
            problem = errors.problem_of(error)
            body = FrameProblem(**problem.model_dump(), frame_id=message.index)
        socket.send(body.model_dump_json())
