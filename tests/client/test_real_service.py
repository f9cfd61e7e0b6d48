"""The client against the real service: its stream, events and video."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from model.images import Box, Image
from tests.client.stand_in import frames_of, run

SIZE = 512


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory, portrait: Image, masked_portrait: Image) -> Path:
    """A film of someone who takes the mask off after a second and a half."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (SIZE, SIZE))
    for image in [masked_portrait] * 15 + [portrait] * 35:
        writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    writer.release()
    return path


def test_a_film_is_judged_per_person(
    tmp_path: Path, server_url: str, film: Path, portrait_box: Box
) -> None:
    output, answers = tmp_path / "out.mp4", tmp_path / "answers.jsonl"
    jsonl, table = tmp_path / "events.jsonl", tmp_path / "events.csv"
    done = run(
        *("--url", server_url, "--source", str(film), "--no-window", "--output", str(output)),
        *("--answers", str(answers), "--jsonl", str(jsonl), "--csv", str(table)),
    )
    assert done.returncode == 0, done.stderr
    assert "50 frames answered, 0 refused, 0 dropped" in done.stdout

    told = [json.loads(line)["answer"] for line in answers.read_text().splitlines()]
    assert [answer["frame_id"] for answer in told] == list(range(50))
    assert {face["track_id"] for answer in told for face in answer["faces"]} == {0}
    labels = [answer["faces"][0]["label"] for answer in told]
    assert Counter(labels[3:15]) == {"mask": 12}
    # Within a second of taking it off; frames that come faster count as a thirtieth of one each.
    assert Counter(labels[45:]) == {"no_mask": 5}

    events = [json.loads(line) for line in jsonl.read_text().splitlines()]
    kinds = [event["event"] for event in events]
    assert kinds[0] == "first_seen"
    assert kinds[-1] == "last_seen"
    (confirmed,) = [event for event in events if event["event"] == "no_mask_confirmed"]
    assert 1.5 < confirmed["position_s"] <= 4.5
    assert {event["track_id"] for event in events} == {0}
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [row["event"] for row in rows] == kinds
    assert rows[0]["source"] == str(film)

    frames, fps = frames_of(output)
    assert (len(frames), fps) == (50, 10)
    for frame, (blue, green, red) in ((frames[10], (115, 158, 0)), (frames[-1], (0, 60, 213))):
        left = frame[portrait_box.y + 30 : portrait_box.y + 90, 165:195].reshape(-1, 3)
        near = np.abs(left.astype(int) - (blue, green, red)).max(axis=1) < 60
        assert near.sum() > 40  # the box's left edge in the label's colour


def test_blurred_faces_cannot_be_recognised(
    tmp_path: Path, server_url: str, film: Path, portrait_box: Box
) -> None:
    output = tmp_path / "out.mp4"
    done = run(
        *("--url", server_url, "--source", str(film), "--no-window", "--output", str(output)),
        "--blur",
    )
    assert done.returncode == 0, done.stderr
    box = portrait_box
    for before, after in zip(frames_of(film)[0], frames_of(output)[0], strict=True):
        inner = (slice(box.y + 20, box.y + 90), slice(box.x + 15, box.x + 75))
        detail, left = (
            np.median(np.abs(cv2.Laplacian(frame[inner], cv2.CV_32F))) for frame in (before, after)
        )
        assert left < detail / 3  # squares of one colour
