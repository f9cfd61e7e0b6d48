"""A training run as a user would do it: interrupted, resumed, exported, evaluated."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest

from model.classifier import MaskClassifier
from model.detectors.yunet import YuNet
from model.images import Image
from model.training.data import dataset
from model.training.data.located import cut
from model.training.drawing.synthesize import COLOURS, synthesize_mask
from model.training.export import abstain_band, export, fit_temperature
from model.training.network import INPUT_SIZE, MARGIN, narrowed
from model.training.train import State, duration, remaining, samples_of, train
from tests.conftest import ROOT, SHARED


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory, portrait: Image) -> Path:
    """One face in many lights, half of them with a mask: quick, and enough to learn from."""
    folder = tmp_path_factory.mktemp("pictures")
    face, colours = YuNet().detect(portrait, 0.6)[0], list(COLOURS.values())
    for cls in ("with_mask", "without_mask"):
        (folder / cls).mkdir()
        for index in range(40):
            masked = synthesize_mask(portrait, face, colours[index % len(colours)])
            image = masked if cls == "with_mask" else portrait
            lit = (image * (0.6 + 0.01 * index)).astype(np.uint8)
            file = folder / cls / f"{index}.jpg"
            cv2.imwrite(str(file), cv2.cvtColor(lit, cv2.COLOR_RGB2BGR))
    return folder


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Use ImageNet's weights if available, else random ones; the mechanics are the same."""
    file = SHARED / "weights/backbone/mobilenetv2_1.0_224_imagenet_notop.weights.h5"
    if file.exists():
        return file
    file = tmp_path_factory.mktemp("backbone") / "random.weights.h5"
    shape = (INPUT_SIZE, INPUT_SIZE, 3)
    base = keras.applications.MobileNetV2(input_shape=shape, include_top=False, weights=None)
    random = np.random.default_rng(0)
    for kernel in base.trainable_weights:
        if kernel.ndim == 4:  # He initialization, so that a signal passes through 52 layers
            inputs = 9 if kernel.shape[-1] == 1 else np.prod(kernel.shape[:-1])
            kernel.assign(random.normal(0, (2 / inputs) ** 0.5, kernel.shape))
    base.save_weights(file)
    return file


def history_of(run: Path) -> list[dict[str, object]]:
    file = run / "state.json"
    return json.loads(file.read_text())["history"] if file.exists() else []


def phases_of(run: Path) -> list[object]:
    return [epoch["phase"] for epoch in history_of(run)]


def train_until(phase: str, run: Path, pictures: Path, backbone: Path, *more: str) -> str:
    """Run the command until an epoch of a phase is saved, press Ctrl-C, and return its output."""
    command = [sys.executable, "-m", "model.training.train", "--data", str(pictures)]
    command += ["--run", str(run), "--backbone", str(backbone), "--draws", "64", *more]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    deadline = time.monotonic() + 1800
    while phase not in phases_of(run) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=600)
    assert phase in phases_of(run), output
    return output


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, pictures: Path, backbone: Path) -> Path:
    """A run interrupted in its first phase and resumed into its second."""
    run = tmp_path_factory.mktemp("run")
    first = train_until("head", run, pictures, backbone)
    assert "Interrupted. The same command resumes" in first, first
    assert "Traceback" not in first
    assert len(re.findall(r"takes at most about \d+ min on this machine", first)) == 1, first
    before = history_of(run)
    second = train_until("full crops", run, pictures, backbone)
    assert "Resuming" in second
    assert history_of(run)[: len(before)] == before
    return run


def test_remaining_time_counts_all_phases_by_their_cost() -> None:
    # 300 batches an epoch: one of the head, six of the upper blocks at 1.9 times the cost, and
    # three of these at (224/128)**2 times the pixels.
    head = 1 + 6 * 1.9 + 3 * 1.9 * (224 / 128) ** 2
    assert remaining(State("full"), 0.1, 300) == pytest.approx(30 * head)
    last = State("full", phase=2, epoch=1)
    assert remaining(last, 1.0, 300) == pytest.approx(600)
    assert [duration(s) for s in (20, 3599, 7500)] == ["1 min", "1 h 0 min", "2 h 5 min"]


def test_imagenet_weights_that_cannot_be_fetched_are_asked_for_in_a_sentence(
    pictures: Path, tmp_path: Path
) -> None:
    nowhere = {"KERAS_HOME": str(tmp_path), "https_proxy": "http://127.0.0.1:9"}
    command = [sys.executable, "-m", "model.training.train"]
    command += ["--data", str(pictures), "--run", str(tmp_path / "run")]
    process = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | nowhere,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 1
    assert "Traceback" not in process.stderr
    assert process.stderr.splitlines()[-1].startswith("The ImageNet weights cannot be downloaded")
    assert "make train BACKBONE=FILE" in process.stderr


def test_an_interrupted_training_goes_on_where_it_was(run: Path) -> None:
    phases = phases_of(run)
    assert phases[:2] == ["head", "small crops"]
    assert "full crops" in phases
    assert (run / "curves.png").stat().st_size > 5000


def test_keras_and_the_export_give_the_same_probabilities(run: Path, tmp_path: Path) -> None:
    card = export(run, tmp_path)
    samples = [s for s in dataset.load(run / "samples.jsonl") if s.split == "val"]
    crops = [cut(s, MARGIN, INPUT_SIZE) for s in samples]
    random = np.random.default_rng(0)
    crops += list(random.integers(0, 256, (8, INPUT_SIZE, INPUT_SIZE, 3), dtype=np.uint8))
    (tmp_path / "mask_detector.json").write_text(
        json.dumps(json.loads((tmp_path / "mask_detector.json").read_text()) | {"temperature": 1})
    )
    ours = MaskClassifier.load(tmp_path).predict(crops)
    theirs = keras.saving.load_model(run / "best.keras").predict(np.stack(crops), verbose=0)
    assert np.ptp(theirs) > 0.01  # else any two networks could agree
    assert np.abs(ours - theirs).mean() <= 0.1  # for a quantized network with little training
    assert card.labels == ("mask", "no_mask")


def test_a_narrow_network_is_taught_by_a_wide_one(
    run: Path, tmp_path: Path, pictures: Path, backbone: Path
) -> None:
    taught = ("--recipe", "narrow", "--teacher", str(run))
    train_until("small crops", tmp_path / "narrow", pictures, backbone, *taught)
    teacher, narrow = (
        keras.saving.load_model(each / "best.keras") for each in (run, tmp_path / "narrow")
    )
    assert narrow.count_params() < 0.5 * teacher.count_params()


def test_a_recipe_that_is_taught_asks_for_its_teacher(tmp_path: Path, pictures: Path) -> None:
    samples = samples_of(tmp_path, pictures, frozenset())
    with pytest.raises(dataset.DatasetError, match="needs --teacher RUN"):
        train(samples, tmp_path, None, "narrow", draws=64, seed=1)


def test_with_all_channels_kept_a_network_stays_the_same(run: Path) -> None:
    network = keras.saving.load_model(run / "best.keras")
    crops = np.random.default_rng(0).integers(0, 256, (4, 112, 112, 3), dtype=np.uint8)
    same = narrowed(network, 1.0).predict(crops, verbose=0)
    assert np.ptp(same) > 0
    assert np.allclose(same, network.predict(crops, verbose=0), atol=1e-6)


def test_temperature_makes_overconfident_probabilities_honest() -> None:
    claimed = np.array([[0.99, 0.01]] * 10, np.float32)
    labels = np.array([0] * 8 + [1] * 2)  # right 8 times out of 10
    temperature = fit_temperature(claimed, labels, np.full(10, 0.1))
    odds = (0.99 / 0.01) ** (1 / temperature)
    assert odds / (1 + odds) == pytest.approx(0.8, abs=0.02)


def test_the_uncertain_band_holds_its_share_and_is_never_too_wide() -> None:
    masks = np.concatenate([np.linspace(0.3, 0.7, 10), np.zeros(90)]).astype(np.float32)
    low, high = abstain_band(masks, 0.06)
    assert 5 <= ((low < masks) & (masks < high)).sum() <= 7
    assert low + high == pytest.approx(1)
    assert abstain_band(np.zeros(100, np.float32), 0.06) == (0.2, 0.8)


@pytest.mark.parametrize(
    "module",
    [
        *("train", "export", "experiments"),
        *("evaluation.evaluate", "evaluation.detection", "drawing.synthesize"),
    ],
)
def test_every_command_explains_itself_with_an_example(module: str) -> None:
    command = [sys.executable, "-m", f"model.training.{module}", "--help"]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert f"Example: python -m model.training.{module}" in " ".join(process.stdout.split())


def test_a_set_that_is_left_out_is_in_neither_part(pictures: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        for cls in ("with_mask", "without_mask"):
            shutil.copytree(pictures / cls, tmp_path / "data" / name / cls)
    with pytest.raises(dataset.DatasetError, match="no set three"):
        samples_of(tmp_path / "run", tmp_path / "data", frozenset({"three"}))
    samples = samples_of(tmp_path / "run", tmp_path / "data", frozenset({"one"}))
    assert {s.source for s in samples} == {"two"}


def test_a_folder_without_pictures_is_refused_in_words(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "model.training.train", "--data", str(tmp_path)]
    process = subprocess.run(
        [*command, "--run", str(tmp_path / "run")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 1
    assert "with_mask/" in process.stderr
    assert "Traceback" not in process.stderr
