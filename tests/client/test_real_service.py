"""The client against the real service: a film goes in, a judged film and its verdicts come out."""

import json
from pathlib import Path

import cv2
import numpy as np

from model.images import Box, Image
from tests.client.stand_in import run


def test_a_film_is_judged_frame_by_frame(
    tmp_path: Path,
    server_url: str,
    portrait: Image,
    masked_portrait: Image,
    portrait_box: Box,
) -> None:
    film = cv2.VideoWriter(
        str(tmp_path / "film.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 12, (512, 512)
    )
    for image in [portrait] * 6 + [masked_portrait] * 6:
        film.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    film.release()
    source, output, lines = (str(tmp_path / name) for name in ("film.mp4", "out.mp4", "out.jsonl"))

    done = run(
        *("--url", server_url, "--source", source, "--no-window"),
        *("--output", output, "--jsonl", lines),
    )

    assert done.returncode == 0, done.stderr
    answers = [json.loads(line)["answer"] for line in Path(lines).read_text().splitlines()]
    labels = [[face["label"] for face in answer["faces"]] for answer in answers]
    assert labels == [["no_mask"]] * 6 + [["mask"]] * 6

    judged = cv2.VideoCapture(output)
    assert judged.get(cv2.CAP_PROP_FPS) == 12
    frames = [judged.read()[1] for _ in range(12)]
    assert not judged.read()[0]
    for frame, (blue, green, red) in ((frames[0], (0, 60, 213)), (frames[-1], (115, 158, 0))):
        left = frame[portrait_box.y + 30 : portrait_box.y + 90, 165:195].reshape(-1, 3)
        near = np.abs(left.astype(int) - (blue, green, red)).max(axis=1) < 60
        assert near.sum() > 40  # the box's left edge in the label's colour
