"""Predictions are read back as written; errors name the line and the reason."""

from pathlib import Path

import pytest

from model.training.evaluation import predictions
from model.training.evaluation.cases import Answer
from model.training.evaluation.predictions import PredictionError


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    data, file = tmp_path / "data", tmp_path / "out" / "ours.jsonl"
    answers = {
        str(data / "set" / "1.jpg"): [
            Answer((1, 2, 30, 40), "mask", 0.123456789),
            Answer((50, 2, 80, 40), "uncertain", 0.5),
        ],
        str(data / "2.jpg"): [Answer((0.5, 0, 9, 9), "no_mask")],
    }
    predictions.write(answers, file, data)
    assert predictions.read(file, data) == answers


def test_a_label_or_a_probability_is_enough(tmp_path: Path) -> None:
    file = tmp_path / "theirs.jsonl"
    box = '"image": "1.jpg", "box": [0, 0, 9, 9]'
    lines = [
        f'{{{box}, "mask": 0.5}}',
        "",
        f'{{{box}, "mask": 0.4}}',
        f'{{{box}, "label": "mask"}}',
    ]
    file.write_text("\n".join(lines))
    (found,) = predictions.read(file, tmp_path).values()
    assert [(answer.label, answer.mask) for answer in found] == [
        ("mask", 0.5),
        ("no_mask", 0.4),
        ("mask", None),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"image": "1.jpg"', "not valid JSON"),
        ("[1, 2]", "is not an object"),
        ('{"box": [0, 0, 9, 9], "mask": 1}', "image is None"),
        ('{"image": "1.jpg", "mask": 1}', "box is None"),
        ('{"image": "1.jpg", "box": [0, 0, 9], "mask": 1}', r"box is \[0, 0, 9\], not four"),
        ('{"image": "1.jpg", "box": [0, 0, "9", 9], "mask": 1}', "not four numbers"),
        ('{"image": "1.jpg", "box": [0, 0, NaN, 9], "mask": 1}', "not four numbers"),
        ('{"image": "1.jpg", "box": [9, 0, 0, 9], "mask": 1}', "right must exceed left"),
        ('{"image": "1.jpg", "box": [0, 0, 9, 9], "mask": 1.2}', "mask is 1.2"),
        ('{"image": "1.jpg", "box": [0, 0, 9, 9], "mask": true}', "mask is True"),
        (
            '{"image": "1.jpg", "box": [0, 0, 9, 9], "label": "masked"}',
            "label is 'masked', not one",
        ),
        ('{"image": "1.jpg", "box": [0, 0, 9, 9]}', "both label and mask are missing"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    file = tmp_path / "theirs.jsonl"
    file.write_text('{"image": "1.jpg", "box": [0, 0, 9, 9], "mask": 0}\n\n' + line)
    with pytest.raises(PredictionError, match=rf"theirs\.jsonl, line 3: .*{message}"):
        predictions.read(file, tmp_path)


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(PredictionError, match="cannot be read"):
        predictions.read(tmp_path / "none.jsonl", tmp_path)
