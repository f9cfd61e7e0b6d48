"""A figure is complete or missing, never partial."""

from pathlib import Path

import pytest
from matplotlib.figure import Figure

from model.training.evaluation import figures

HISTORY = [{"phase": "head", "loss": 1, "val_loss": 1, "accuracy": 0.5, "val_accuracy": 0.5}]


def test_an_interruption_leaves_the_figure_that_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "curves.png"
    figures.curves(HISTORY, file)
    before = file.read_bytes()

    def interrupted(_figure: Figure, path: Path, **_: object) -> None:
        Path(path).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(Figure, "savefig", interrupted)
    with pytest.raises(KeyboardInterrupt):
        figures.curves(HISTORY, file)
    assert file.read_bytes() == before


def test_nothing_else_is_left_beside_a_figure(tmp_path: Path) -> None:
    figures.curves(HISTORY, tmp_path / "curves.png")
    figures.montage([], figures.WAYS["on_box"], tmp_path / "mistakes.jpg")
    assert {file.name for file in tmp_path.iterdir()} == {"curves.png", "mistakes.jpg"}
