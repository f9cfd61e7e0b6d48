"""The blur threshold lies where labels stop being right."""

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from model.images import Box, Image
from model.pipeline import MaskPipeline
from model.quality import sharpness
from model.training.data.dataset import Sample
from model.training.export import BLURS, FILE, Trial, blur_trials, blurred, least_sharpness
from tests.conftest import ROOT


def trials(shares: dict[float, float]) -> list[Trial]:
    """Return a hundred labels around each sharpness; the given share of them is right."""
    return [
        Trial(sharp + 1e-4 * i, i % 100 < 100 * share, 1.0)
        for sharp, share in shares.items()
        for i in (k * 37 for k in range(100))
    ]


def test_the_gate_is_where_labels_pass_ninety_in_a_hundred() -> None:
    judged = trials({1.0: 0.5, 2.0: 0.8, 3.0: 0.95, 4.0: 1.0})
    assert 2.3 < least_sharpness(judged, []) <= 3.0


def test_one_wrong_label_on_a_sharp_face_moves_nothing() -> None:
    judged = trials({1.0: 0.5, 2.0: 1.0})
    wrong = Trial(9.0, right=False, weight=1.0)
    assert least_sharpness([*judged, wrong], []) == least_sharpness(judged, [])


@pytest.mark.parametrize(("weight", "gate"), [(1.0, 0.0), (50.0, 2.01)])
def test_a_face_counts_by_its_weight(weight: float, gate: float) -> None:
    sharp = [Trial(1.0 + i / 100, right=True, weight=1.0) for i in range(101)]
    sharper = [Trial(2.01 + i / 100, right=True, weight=1.0) for i in range(99)]
    wrong = Trial(2.005, right=False, weight=weight)
    assert least_sharpness([*sharp, wrong, *sharper], []) == pytest.approx(gate, abs=2e-4)


def test_hardly_any_face_is_refused_as_it_is() -> None:
    clear = list(np.linspace(0, 5, 1000))
    gate = least_sharpness(trials({1.0: 0.1, 2.0: 0.1}), clear)
    assert 8 <= sum(detail < gate for detail in clear) <= 10


def test_without_need_or_trials_there_is_no_gate() -> None:
    assert least_sharpness(trials({1.0: 1.0, 2.0: 1.0}), [1.0, 2.0]) == 0
    assert least_sharpness([], []) == 0
    assert 0 < least_sharpness(trials({1.0: 0.0}), []) < 5


def test_a_face_is_blurred_by_its_own_size_and_stays_in_place(
    portrait: Image, portrait_box: Box
) -> None:
    inner = Box(300, 280, 40, 50)  # with some background on every side
    for place in (portrait_box, inner):
        x, y, width, height = vars(place).values()
        for sigma in (0.05, 0.1):
            around, box = blurred(portrait, place, sigma)
            whole = cv2.GaussianBlur(portrait, (0, 0), sigma * width).astype(int)
            face = around[box.y : box.y + height, box.x : box.x + width].astype(int)
            assert np.abs(face - whole[y : y + height, x : x + width]).max() <= 1
    small = cv2.resize(portrait, (256, 256), interpolation=cv2.INTER_AREA)
    near = sharpness(*blurred(portrait, portrait_box, 0.1))
    far = sharpness(*blurred(np.asarray(small, np.uint8), Box(89, 35, 46, 54), 0.1))
    assert near == pytest.approx(far, rel=0.2)


def test_each_face_is_tried_at_each_blur(tmp_path: Path, portrait: Image) -> None:
    file = tmp_path / "portrait.png"
    cv2.imwrite(str(file), cv2.cvtColor(portrait, cv2.COLOR_RGB2BGR))
    box = (178.0, 70.0, 270.0, 178.0)
    samples = [Sample(str(file), cls, "", "", "val", box) for cls in ("without_mask", "with_mask")]
    pipeline = MaskPipeline.load("mobilenetv2-224", ())
    judged, clear = blur_trials(pipeline, samples)
    assert len(clear) == 2
    assert 2 <= len(judged) < 2 * len(BLURS)  # the shipped threshold refuses the most blurred
    assert {trial.right for trial in judged} == {True, False}
    assert max(trial.sharpness for trial in judged) == max(clear)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "already holds a model. To replace it, add --yes (make export ARGS=--yes)."),
        ("n", "is unchanged."),
        ("y", "has no best.keras. Train first"),  # it went on
    ],
)
def test_a_model_is_not_replaced_unasked(tmp_path: Path, answer: str | None, words: str) -> None:
    weights = tmp_path / FILE
    weights.write_bytes(b"shipped")
    command = [sys.executable, "-m", "model.training.export"]
    command += ["--run", str(tmp_path / "run"), "--output", str(tmp_path)]
    terminal, stdin = os.openpty()
    if answer:
        os.write(terminal, f"{answer}\n".encode())
    process = subprocess.run(
        command,
        cwd=ROOT,
        stdin=stdin if answer else subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    os.close(terminal)
    os.close(stdin)
    assert process.returncode == 1
    assert words in process.stderr
    assert "Traceback" not in process.stderr
    assert weights.read_bytes() == b"shipped"
