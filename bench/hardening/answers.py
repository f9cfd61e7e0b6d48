"""Check the rules that every answer of the service must obey, for any input."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass

import cv2
import numpy as np
from pydantic import BaseModel

from bench.hardening.inputs import Input
from service.schemas import FrameProblem, Prediction, Problem, StreamAnswer

# 501: unknown transfer coding; 503: all streams or the queue are full; 505: HTTP version.
REFUSALS = {501, 503, 505}
SENDING = {"POST", "PUT"}


class Fault(Exception):
    """The service broke a rule."""


@dataclass(frozen=True)
class Answer:
    """One answer over HTTP."""

    status: int
    headers: dict[str, str]
    body: bytes


def check(answer: Answer, data: Input) -> None:  # noqa: C901, PLR0912 (one rule after another)
    """Raise Fault unless an answer matches the schemas."""
    kind = answer.headers.get("content-type", "").split(";")[0]
    if answer.status >= 500 and answer.status not in REFUSALS:
        raise Fault(f"status {answer.status}")
    if len(answer.headers.get("x-request-id", "")) != 32:
        raise Fault("no request ID")
    if answer.status == 405 and kind == "text/html":
        if answer.headers.get("vary") != "Accept":  # /predict opened in a browser
            raise Fault("a page that does not vary with Accept")
    elif answer.status >= 400:
        if kind != "application/problem+json":
            raise Fault(f"{answer.status} has content type {kind}")
        if data.method != "HEAD":
            problem = Problem.model_validate_json(answer.body, strict=True)
            if problem.status != answer.status:
                raise Fault(f"the problem says {problem.status}, the answer {answer.status}")
            if problem.request_id != answer.headers["x-request-id"]:
                raise Fault("the problem has another request ID")
    elif answer.status >= 300 and answer.status != 304:
        if "location" not in answer.headers:
            raise Fault(f"{answer.status} without Location")
    elif data.method in SENDING and data.framed and answer.status != 200:
        raise Fault(f"status {answer.status} of a POST")
    elif data.method in SENDING and kind == "application/json":
        check_prediction(Prediction.model_validate_json(answer.body, strict=True))
    elif (
        data.method in SENDING
        and kind == "image/jpeg"
        and cv2.imdecode(np.frombuffer(answer.body, np.uint8), cv2.IMREAD_COLOR) is None
    ):
        raise Fault("the annotated picture cannot be decoded")


def check_prediction(answer: Prediction) -> None:
    """Raise Fault unless boxes are inside the picture and all totals are right."""
    # A stream's tentative faces may be no people, so they do not count.
    people = [f for f in answer.faces if getattr(f, "state", "confirmed") == "confirmed"]
    labels = Counter(face.label for face in people)
    if answer.summary.model_dump() != {
        name: labels[name] for name in ("mask", "no_mask", "uncertain")
    }:
        raise Fault("the summary does not match the faces' labels")
    if answer.image.smallest_face < 1:
        raise Fault(f"faces of {answer.image.smallest_face} pixels")
    for face in answer.faces:
        box, shares = face.box, face.probabilities
        if min(box.x, box.y) < 0 or min(box.width, box.height) < 1:
            raise Fault(f"{box} is not a valid box")
        if box.x + box.width > answer.image.width or box.y + box.height > answer.image.height:
            raise Fault(f"{box} is not inside {answer.image}")
        if not 0 <= face.detection_confidence <= 1:
            raise Fault(f"a confidence of {face.detection_confidence}, outside 0..1")
        if min(shares.mask, shares.no_mask) < 0 or abs(shares.mask + shares.no_mask - 1) > 1e-9:
            raise Fault(f"{shares} are not probabilities")


def check_message(text: bytes) -> str:
    """Raise Fault unless a stream's message matches the schemas; return its status."""
    body = json.loads(text)
    model: type[BaseModel] = FrameProblem if "status" in body else StreamAnswer
    parsed = model.model_validate_json(text, strict=True)
    if isinstance(parsed, StreamAnswer):
        check_prediction(parsed)
        return "answer"
    status = int(body["status"])
    if status >= 500:
        raise Fault(f"a message with status {status}")
    return str(status)
