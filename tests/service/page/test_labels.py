"""Labels on the faces: what they say, and that they hide neither faces nor each other."""

import io
import random
from itertools import combinations

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from bench.page import Rectangle
from tests.conftest import ROOT
from tests.service.page.conftest import Visit
from tests.service.page.seen import ANSWERED, PHONE, choose, encoded

CAPTION = """async ([label, mask, incorrectly_worn]) => {
  const { caption } = await import("/static/annotate.js");
  return caption({ label, probabilities: { mask, no_mask: 1 - mask }, incorrectly_worn });
}"""
DRAW = """async ([boxes, surface]) => {
  const { annotate } = await import("/static/annotate.js");
  const context = new OffscreenCanvas(surface.width, surface.height).getContext("2d");
  return annotate(context, boxes, surface).map(
    ({ left, top, width, height, text }) => [[left, top, width, height], text]);
}"""


@pytest.mark.parametrize(
    ("label", "mask", "words"),
    [
        ("mask", 0.97, "Mask 97 %"),
        ("no_mask", 0.25, "No mask 75 %"),
        ("mask", 1.0, "Mask 99 %"),
        ("mask", 0.25, "Mask"),  # a track whose label is older than its latest looks
        ("uncertain", 0.55, "Uncertain"),
    ],
)
def test_percentage_is_of_the_label_itself(
    visit: Visit, label: str, mask: float, words: str
) -> None:
    assert visit().evaluate(CAPTION, [label, mask, None]) == words


def test_a_mask_that_is_worn_wrong_is_named(visit: Visit) -> None:
    page = visit()
    assert page.evaluate(CAPTION, ["no_mask", 0.2, 0.62]) == "Mask worn wrong 62 %"
    assert page.evaluate(CAPTION, ["no_mask", 0.2, 0.4]) == "No mask 80 %"


def meet(a: Rectangle, b: Rectangle) -> bool:
    return a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]


@pytest.mark.parametrize("width", [288, 768, 2000])
def test_labels_of_a_crowd_keep_apart_and_off_the_faces(visit: Visit, width: int) -> None:
    page = visit()
    surface = {"width": width, "height": width * 3 // 4}
    chance = random.Random(width)
    labelled = 0
    for people in (1, 2, 4, 12, 50):
        boxes = []
        for index in range(people):
            size = chance.uniform(0.02, 0.3) * width
            boxes.append(
                {
                    "left": chance.uniform(0, width - size),
                    "top": chance.uniform(0, surface["height"] - size),
                    "width": size,
                    "height": size,
                    "index": index,
                    "face": {
                        "label": chance.choice(["mask", "no_mask", "uncertain"]),
                        "probabilities": {"mask": 0.5, "no_mask": 0.5},
                    },
                }
            )
        labels = page.evaluate(DRAW, [boxes, surface])
        labelled += len(labels)
        assert not any(meet(a, b) for (a, _), (b, _) in combinations(labels, 2))
        for (left, top, wide, high), text in labels:
            assert 0 <= left <= left + wide <= surface["width"]
            assert 0 <= top <= top + high <= surface["height"]
            number = int(text.split()[1]) - 1 if people > 1 else 0
            for box in boxes:
                face = (box["left"], box["top"], box["width"], box["height"])
                # A label stands on a face only where there is no other place, and on its own.
                assert box["index"] == number or not meet((left, top, wide, high), face)
    assert labelled > 5


TENTATIVE = """async () => {
  const { annotate, place } = await import("/static/annotate.js");
  const results = await import("/static/results.js");
  const alert = await import("/static/alert.js");
  const face = (x, state) => ({ box: { x, y: 100, width: 80, height: 80 }, label: "no_mask",
    probabilities: { mask: 0, no_mask: 1 }, track_id: x, state });
  const size = { width: 640, height: 480 };
  const seen = [];
  for (const state of ["tentative", "confirmed"]) {
    const faces = [face(100, state)];
    const confirmed = faces.filter((each) => each.state === "confirmed").length;
    const summary = { mask: 0, no_mask: confirmed, uncertain: 0 };
    const answer = { image: size, faces, summary, faces_left_out: 0, frame_id: seen.length };
    const context = new OffscreenCanvas(size.width, size.height).getContext("2d");
    const placed = place(answer, false, size.width, size.height);
    const texts = annotate(context, placed, size, 0).map(({ text }) => text);
    const drawn = context.getImageData(0, 0, size.width, size.height).data.filter((v) => v).length;
    results.show(answer, placed);
    alert.update(answer);
    seen.push({ texts, drawn, listed: document.querySelectorAll("#faces li").length,
      alarmed: document.querySelector("#stage").classList.contains("alarmed") });
  }
  return seen;
}"""


def test_tentative_face_has_a_thin_box_and_counts_for_nothing(visit: Visit) -> None:
    tentative, confirmed = visit().evaluate(TENTATIVE)
    assert 0 < tentative.pop("drawn") < confirmed.pop("drawn")
    assert tentative == {"texts": [], "listed": 0, "alarmed": False}
    assert confirmed == {
        "texts": ["\N{MULTIPLICATION SIGN} 101 No mask 99 %"],
        "listed": 1,
        "alarmed": True,
    }


def labels(page: Page) -> str:
    return page.get_attribute("#overlay", "data-labels") or ""


def test_tiny_face_is_labelled_when_the_pointer_is_on_it(visit: Visit) -> None:
    wide = Image.new("RGB", (2000, 1100), "teal")
    wide.paste(Image.open(ROOT / "docs" / "faces.jpg"), (600, 300))
    page = visit(**PHONE)
    choose(page, encoded(wide, "PNG"), mime="image/png")
    page.wait_for_selector(ANSWERED)
    expect(page.locator("#faces li")).to_have_count(2)
    assert labels(page) == ""
    stage = page.locator("#stage").bounding_box()
    assert stage is not None
    left, top, width, height = map(
        float, (page.get_attribute("#overlay", "data-boxes") or "").split("; ")[1].split()
    )
    page.mouse.move(stage["x"] + left + width / 2, stage["y"] + top + height / 2)
    assert "2 Mask" in labels(page)
    page.mouse.move(1, 1)
    assert labels(page) == ""


def test_label_of_a_face_that_fills_the_picture_is_at_its_edge(visit: Visit) -> None:
    faces = Image.open(ROOT / "docs" / "faces.jpg").crop((460, 40, 575, 175)).resize((920, 1080))
    page = visit()
    buffer = io.BytesIO()
    faces.save(buffer, "PNG")
    choose(page, buffer.getvalue(), mime="image/png")
    page.wait_for_selector(ANSWERED)
    expect(page.locator("#faces li")).to_have_count(1)
    assert "Mask" in labels(page)
