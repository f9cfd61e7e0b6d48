"""The schema of every request and response, for validation and for the OpenAPI document."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from model import pipeline
from model.cascade import Cascade
from model.choices import LEAST_CONFIDENCE, DetectorName, Label
from model.selection import Selection, Zone
from model.video import tracking

# Fields with a default are present in every answer too.
ALL_REQUIRED = ConfigDict(json_schema_serialization_defaults_required=True)


def number(value: object) -> object:
    """Return a value; raises PydanticCustomError for true and false, which would be 1 and 0."""
    if isinstance(value, bool):
        raise PydanticCustomError("number", "Input should be a number")
    return value


Share = Annotated[float, Field(description="0 to 1, rounded to four places.")]
Detector = Annotated[DetectorName | None, Field(description="The face detector to use.")]
MinConfidence = Annotated[
    float | None,
    # The limits first: after the validator, the OpenAPI document would lose them.
    Field(ge=LEAST_CONFIDENCE, le=1, description="The minimum confidence of a detected face."),
    BeforeValidator(number),
]

MOST_ZONES = 20
SHARE = r"(?:0(?:\.\d{1,12})?|1(?:\.0{1,12})?)"  # 0 to 1
ZONE = rf"{SHARE}(?:,{SHARE}){{3}}"
ZONES = rf"^{ZONE}(?:;{ZONE}){{0,{MOST_ZONES - 1}}}$"


def zones_of(text: object) -> tuple[Zone, ...]:
    """Read the parameter `ignore`; raises PydanticCustomError, which quotes nothing."""
    if not isinstance(text, str) or not re.fullmatch(ZONES, text):
        raise PydanticCustomError(
            "zones",
            "A zone is x,y,width,height in fractions of the picture, each from 0 to 1, such as "
            "0,0.5,0.25,0.5. Send at most {most}, separated by semicolons",
            {"most": MOST_ZONES},
        )
    return tuple(Zone(*map(float, zone.split(","))) for zone in text.split(";"))


Zones = Annotated[
    tuple[Zone, ...],
    BeforeValidator(zones_of),
    WithJsonSchema({"type": "string", "pattern": ZONES}),
]


class FaceQuery(BaseModel):
    """The parameters that say which faces are judged."""

    model_config = ConfigDict(extra="forbid")

    detector: Detector = None
    min_confidence: MinConfidence = None
    smallest_face: Annotated[
        int | None,
        Field(
            ge=1, le=65_500, description="Faces whose shorter side has fewer pixels are left out."
        ),
        BeforeValidator(number),
    ] = None
    ignore: Annotated[
        Zones | None,
        Field(
            description="Faces whose centre lies in one of these zones are left out: "
            f"x,y,width,height in fractions of the picture; up to {MOST_ZONES}, separated by "
            "semicolons or each in a parameter of its own."
        ),
    ] = None

    def selection(self, most: int) -> Selection:
        """Return the rule that chooses the faces to judge."""
        return Selection(most, self.smallest_face or 0, self.ignore or ())


class PredictQuery(FaceQuery):
    """The parameters of /predict; omitted ones use the service's settings."""

    annotate: bool = Field(
        default=False, description="Answer with the picture and boxes drawn on it."
    )


class StreamQuery(FaceQuery):
    """The query of WS /stream; omitted parameters use the service's settings."""


class BoxBody(BaseModel):
    """A box inside the upright picture, in whole pixels."""

    x: int
    y: int
    width: int
    height: int


class Probabilities(BaseModel):
    """The probabilities of both labels; they sum to 1."""

    mask: Share
    no_mask: Share


class Verdict(BaseModel):
    """The result for one face."""

    id: int
    box: BoxBody
    detection_confidence: Share
    label: Label
    probabilities: Probabilities
    incorrectly_worn: Annotated[
        Share | None,
        Field(
            description="The probability of a mask that leaves nose or mouth bare; null if the "
            "detector does not tell."
        ),
    ]
    stage: Annotated[str, Field(description="The stage of the model that decided, see GET /model.")]

    @classmethod
    def of(cls, index: int, verdict: pipeline.Verdict) -> Verdict:
        """Make the result for one face from the pipeline's verdict."""
        box, mask = verdict.face.box, round(verdict.mask, 4)
        wrong = verdict.incorrectly_worn
        return cls(
            id=index,
            box=BoxBody(x=box.x, y=box.y, width=box.width, height=box.height),
            detection_confidence=round(verdict.face.confidence, 4),
            label=verdict.label,
            probabilities=Probabilities(mask=mask, no_mask=round(1 - mask, 4)),
            incorrectly_worn=None if wrong is None else round(wrong, 4),
            stage=verdict.stage,
        )


class Summary(BaseModel):
    """The number of faces per label."""

    model_config = ALL_REQUIRED

    mask: int = 0
    no_mask: int = 0
    uncertain: int = 0


class ModelName(BaseModel):
    """The model and detector used; version: the first 12 hex digits of the weights' SHA-256."""

    name: str
    version: str
    detector: str


class ImageSize(BaseModel):
    """The size of the upright picture in pixels."""

    width: int
    height: int
    smallest_face: Annotated[
        int, Field(ge=1, description="Faces whose shorter side is below it are not looked for.")
    ]


class Timings(BaseModel):
    """The time of each stage in milliseconds."""

    decode: float
    detect: float
    classify: float


class Prediction(BaseModel):
    """The answer of POST /predict."""

    request_id: str
    model: ModelName
    image: ImageSize
    faces: list[Verdict]
    faces_left_out: Annotated[
        int,
        Field(
            ge=0,
            description="Found but not judged: beyond the service's limit, smaller than "
            "smallest_face, or in an ignored zone.",
        ),
    ]
    summary: Summary
    timings_ms: Timings

    @classmethod
    def of(cls, request_id: str, model: Cascade, analysis: pipeline.Analysis) -> Prediction:
        """Make the answer from an analysis."""
        width, height = analysis.size
        labels = [verdict.label for verdict in analysis.verdicts if verdict.counts]
        return cls(
            request_id=request_id,
            model=ModelName(name=model.name, version=model.version, detector=analysis.detector),
            image=ImageSize(width=width, height=height, smallest_face=analysis.smallest_face),
            faces=[Verdict.of(i, verdict) for i, verdict in enumerate(analysis.verdicts)],
            faces_left_out=analysis.left_out,
            summary=Summary(**{label: labels.count(label) for label in set(labels)}),
            timings_ms=Timings(**analysis.timings_ms),
        )


class TrackedVerdict(Verdict):
    """The result for one face of a stream; label and probabilities are those of its track."""

    track_id: int
    age: float
    state: Annotated[
        tracking.State,
        Field(
            description="`tentative` until the face has been seen surely enough to count as a "
            "person, then `confirmed`. The summary counts confirmed ones only."
        ),
    ]


class StreamAnswer(Prediction):
    """The answer to a frame of a stream.

    frame_id: number of the frame within the stream, from 0. dropped: frames replaced by a newer
    one so far.
    """

    faces: list[TrackedVerdict]  # type: ignore[assignment]
    frame_id: int
    dropped: int

    @classmethod
    def of_frame(
        cls,
        request_id: str,
        model: Cascade,
        analysis: pipeline.Analysis,
        frame_id: int,
        dropped: int,
    ) -> StreamAnswer:
        """Make the answer from a tracker's analysis."""
        prediction = Prediction.of(request_id, model, analysis)
        faces = [
            TrackedVerdict(
                **dict(face),
                track_id=verdict.track_id,
                age=round(verdict.age, 2),
                state=verdict.state,
            )
            for face, verdict in zip(prediction.faces, analysis.verdicts, strict=True)
            if isinstance(verdict, tracking.TrackedVerdict)
        ]
        body = dict(prediction) | {"faces": faces, "frame_id": frame_id, "dropped": dropped}
        return cls.model_construct(**body)


class Stage(BaseModel):
    """A stage of the model, see cascade.py."""

    name: str
    decides_from: Annotated[
        Share, Field(description="The probability of its label from which the stage decides.")
    ]


class ModelBody(BaseModel):
    """The answer of GET /model; sha256 to min_sharpness describe the network that decides last."""

    name: str
    version: str
    sha256: str
    labels: list[str]
    input_size: int
    margin: float
    threshold: Share
    temperature: float
    abstain: list[Share]
    min_face: int
    min_sharpness: float
    stages: list[Stage]
    detectors: list[str]


class Status(BaseModel):
    """The answer of GET /healthz."""

    status: Literal["alive"]


class Readiness(BaseModel):
    """The answer of GET /readyz."""

    status: Literal["ready"]
    warnings: Annotated[
        list[str],
        Field(description="Faults for an operator to repair; requests are answered meanwhile."),
    ]


class Problem(BaseModel):
    """An error (RFC 9457), sent as application/problem+json."""

    model_config = ALL_REQUIRED

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    request_id: str


class FrameProblem(Problem):
    """An error for one frame of a stream."""

    frame_id: int
