"""Pictures of every format are read; files that are skipped are named."""

from __future__ import annotations

import io
from pathlib import Path

import av
import cv2
import numpy as np
import pillow_heif
import pytest
from PIL import Image

from client import recordings
from client.frames import SourceError
from tests.client.stand_in import FACE, Service, film, lines_of, picture, run, uneven_film

pillow_heif.register_heif_opener()
SUFFIXES = sorted(recordings.PICTURES)
BARE = FACE | {"label": "no_mask", "probabilities": {"mask": 0.02, "no_mask": 0.98}}


def saved(path: Path, number: int = 1) -> Path:
    Image.fromarray(picture(number)[..., ::-1]).save(path)
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_picture_is_read_in_its_colours(tmp_path: Path, suffix: str):
    (frame,) = recordings.file(saved(tmp_path / f"a{suffix.upper()}"), print).frames()
    off = np.abs(frame.pixels.astype(int) - picture(1))
    assert off.mean() < (30 if suffix == ".gif" else 6)


def test_a_picture_of_another_or_no_name_is_a_picture_too(tmp_path: Path):
    for name, suffix in (("IMG_1", ".jpg"), ("b.dat", ".png"), ("c.pic", ".webp")):
        path = saved(tmp_path / f"x{suffix}").rename(tmp_path / name)
        source = recordings.file(path, print)
        assert source.stills
        assert [frame.pixels.shape for frame in source.frames()] == [(240, 320, 3)]


def test_deep_transparent_and_cut_pictures(tmp_path: Path):
    deep = (np.arange(65536, dtype=np.uint16).reshape(256, 256) // 257) * 257
    Image.fromarray(deep).save(tmp_path / "deep.png")
    (frame,) = recordings.file(tmp_path / "deep.png", print).frames()
    assert np.abs(frame.pixels[..., 0].astype(int) - (deep >> 8)).max() <= 1

    data = saved(tmp_path / "a.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(data[:-2])
    notes: list[str] = []
    (frame,) = recordings.file(tmp_path / "cut.jpg", notes.append).frames()
    assert np.abs(frame.pixels.astype(int) - picture(1)).mean() < 6
    assert "is cut short" in notes[0]


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_a_deep_picture_is_as_bright_as_it_was_taken(tmp_path: Path, bits: int, suffix: str):
    """Industrial and thermal cameras write 10 to 14 bits into 16, which looks black."""
    pixels = picture(1)
    deep = pixels.astype(np.uint16) << (bits - 8)
    deep[0, 0] = (1 << bits) - 1
    for name, image in (("colours", deep), ("grey", deep[..., 1])):
        file = tmp_path / f"{name}{suffix}"
        cv2.imwrite(str(file), image)
        (frame,) = recordings.file(file, print).frames()
        assert np.abs(frame.pixels[..., 1].astype(int) - pixels[..., 1])[1:].max() <= 1


def test_a_picture_that_claims_too_many_pixels_is_skipped(tmp_path: Path):
    file = io.BytesIO()
    Image.new("1", (8, 8)).save(file, "PNG")
    data = bytearray(file.getvalue())
    data[16:24] = (60_000).to_bytes(4) * 2
    (tmp_path / "bomb.png").write_bytes(data)
    notes: list[str] = []
    with pytest.raises(SourceError, match="no readable picture"):
        list(recordings.file(tmp_path / "bomb.png", notes.append).frames())
    assert "is skipped" in notes[0]


def test_what_a_folder_leaves_out_is_named(tmp_path: Path):
    saved(tmp_path / "a.bmp")
    for name in ("notes.txt", "b\x1b[31m.svg", ".DS_Store", *(f"{n}.raw" for n in range(20))):
        (tmp_path / name).touch()
    notes: list[str] = []
    recordings.folder(tmp_path, notes.append)
    assert len(notes) == 1
    assert "0.raw" in notes[0]
    assert "and 12 more" in notes[0]
    assert "DS_Store" not in notes[0]


def test_one_picture_confirms_nothing(tmp_path: Path):
    source, events = saved(tmp_path / "one.png"), tmp_path / "events.jsonl"
    service = Service()
    service.faces = [BARE]
    with service.serving() as port:
        done = run(
            *("--url", f"http://127.0.0.1:{port}", "--source", str(source), "--no-window"),
            *("--jsonl", str(events)),
        )
    assert done.returncode == 0, done.stderr
    told = [(event["event"], event["label"]) for event in lines_of(events)]
    assert told == [("first_seen", "no_mask"), ("last_seen", "no_mask")]


def test_the_formats_of_phones_and_cameras(shared: Path):
    folder = shared / "cases" / "formats"
    if not folder.is_dir():
        pytest.skip("needs ../shared/cases")
    notes: list[str] = []
    frames = list(recordings.folder(folder, notes.append).frames())
    assert len(frames) == len([path for path in folder.iterdir() if path.suffix != ".md"])
    assert min(frame.pixels.mean() for frame in frames) > 20


def test_the_times_of_a_film_are_the_containers(tmp_path: Path):
    times = [0.0, 0.04, 2.5, 8.0]
    for name in ("a.mp4", "a.mkv"):
        frames = recordings.file(uneven_film(tmp_path / name, times), print).frames()
        assert [frame.at_s for frame in frames] == pytest.approx(times, abs=0.001)


def test_a_damaged_film_gives_what_it_holds(tmp_path: Path):
    data = bytearray(film(tmp_path / "film.mp4", frames=30, fps=10).read_bytes())
    middle = len(data) // 2
    data[middle : middle + 500] = bytes(500)
    (tmp_path / "damaged.mp4").write_bytes(data)
    frames = list(recordings.file(tmp_path / "damaged.mp4", print).frames())
    assert 15 <= len(frames) <= 30
    assert frames[-1].at_s == pytest.approx(2.9, abs=0.11)


def test_a_film_whose_title_is_no_utf8_is_read(tmp_path: Path):
    path = film(tmp_path / "film.mp4", frames=5, fps=10)
    with av.open(str(path)) as source, av.open(str(tmp_path / "a.mkv"), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        target.metadata["title"] = "TITLE OF THE FILM"
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    data = (tmp_path / "a.mkv").read_bytes()
    assert b"TITLE OF" in data
    (tmp_path / "a.mkv").write_bytes(data.replace(b"TITLE OF", b"TITL\xe9 OF"))
    assert len(list(recordings.file(tmp_path / "a.mkv", print).frames())) == 5
