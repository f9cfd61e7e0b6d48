"""WS /stream: takes a camera's frames, answers each frame, and tracks each person's verdict."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable

from flask import Blueprint, Response, g, request
from pydantic import BaseModel
from websockets.frames import CloseCode

from model.images import UndecodableImage
from model.pipeline import WHOLE_PIXELS
from model.video.tracking import Tracker
from service import errors, forms, logs
from service.keys import key_protocol, refusal
from service.metrics import Metrics
from service.schemas import FrameProblem, StreamAnswer, StreamQuery
from service.server.websocket import Message, WebSocket
from service.services import Services


class Upgraded(Response):
    """The placeholder response after a WebSocket has ended; nothing more is sent."""

    default_status = 101

    def __call__(self, *_: object) -> list[bytes]:
        """Make gunicorn close the connection without a response."""
        raise StopIteration


def create_stream(services: Services) -> Blueprint:
    """Make the blueprint of /stream."""
    config, pool, metrics = services.config, services.pool, services.metrics
    blueprint = Blueprint("stream", __name__)

    @blueprint.get("/stream", websocket=True)
    @blueprint.get("/stream")  # a plain request is told to open a WebSocket
    def stream() -> Response:
        query = StreamQuery.model_validate(forms.query(request.args, StreamQuery))
        detector = query.detector or config.DETECTOR
        pool.check_offers(detector)
        confidence = query.min_confidence
        tracker = Tracker(
            detector,
            config.MIN_CONFIDENCE if confidence is None else confidence,
            selection=query.selection(config.MAX_FACES),
        )

        def answer(message: Message) -> BaseModel:
            if g.key is not None and not services.keys.know(g.key):
                socket.close(CloseCode.POLICY_VIOLATION, "the API key was withdrawn")
                raise refusal("This API key was withdrawn. Use a valid one.")
            services.limit.take(g.client)
            if isinstance(message.content, str):
                raise UndecodableImage("Send a picture as a binary message, not text.")
            begin = time.perf_counter()
            picture = pool.open(message.content, min(config.MAX_PIXELS, WHOLE_PIXELS))
            analysis = pool.run_next(
                lambda pipeline: tracker.analyse(pipeline, picture), picture.weight
            )
            body = StreamAnswer.of_frame(
                g.request_id, pool.model, analysis, message.index, socket.dropped
            )
            metrics.answered(analysis, time.perf_counter() - begin)
            if services.traces:
                services.traces.frame(analysis)
            return body

        with services.streams.place(g.client), services.buffers.lend() as loan:
            socket = WebSocket(
                *(request, config.MAX_BODY_BYTES, config.STREAM_IDLE_TIMEOUT, loan),
                protocol=key_protocol(request),
            )
            opened = {"request_id": g.request_id, "remote": request.remote_addr}
            logs.event("stream opened", **opened)
            try:
                with services.streams.opened(socket), metrics.open_streams.track_inprogress():
                    converse(socket, answer, metrics)
            finally:
                counts = {"frames": socket.received, "dropped": socket.dropped}
                logs.event("stream closed", **counts, **opened)
                g.request_id = opened["request_id"]
        return Upgraded()

    return blueprint


def converse(socket: WebSocket, answer: Callable[[Message], BaseModel], metrics: Metrics) -> None:
    """Answer messages until the connection is closed; a bad message does not end the stream."""
    last = -1
    while (message := socket.take()) is not None:
        # Only the newest message is taken; those since the last one were dropped.
        metrics.stream_frames.inc(message.index - last)
        metrics.stream_dropped.inc(message.index - last - 1)
        last = message.index
        g.request_id = uuid.uuid4().hex
        try:
            body = answer(message)
        except Exception as error:  # noqa: BLE001 (errors.py logs unexpected ones)
            problem = errors.problem_of(error)
            body = FrameProblem(**problem.model_dump(), frame_id=message.index)
        socket.send(body.model_dump_json())
