"""The contract of POST /predict, on the real service over a socket."""

import base64
import io
import socket
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest
import requests
from PIL import Image as PillowImage

from model.images import Box, Image
from service.annotate import COLOURS
from service.schemas import Prediction, Problem
from tests.conftest import ROOT, TIMEOUT_S, encoded, serving
from tests.model.detectors.test_faces import overlap
from tests.model.test_images import bare_png, png_of_16_bits

JPEG = {"Content-Type": "image/jpeg"}


def post(
    url: str, data: bytes, content_type: str = "image/jpeg", query: str = ""
) -> requests.Response:
    return requests.post(
        f"{url}/predict{query}",
        data=data,
        headers={"Content-Type": content_type},
        timeout=TIMEOUT_S,
    )


def prediction(response: requests.Response) -> Prediction:
    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"] == "application/json"
    return Prediction.model_validate(response.json(), strict=True)


def refused(url: str, response: requests.Response, status: int, words: str) -> None:
    """Check a refusal, and that the service still judges the next picture."""
    problem = Problem.model_validate(response.json())
    assert response.headers["Content-Type"] == "application/problem+json"
    assert (response.status_code, problem.status) == (status, status)
    assert words in problem.detail
    assert problem.request_id == response.headers["X-Request-ID"]
    blank = encoded(np.zeros((64, 64, 3), np.uint8))
    assert prediction(post(url, blank)).faces == []


def one_face(answer: Prediction) -> Box:
    assert len(answer.faces) == 1
    return Box(**answer.faces[0].box.model_dump())


def test_an_unmasked_face(server_url: str, portrait_jpeg: bytes, portrait_box: Box) -> None:
    answer = prediction(post(server_url, portrait_jpeg))
    assert overlap(one_face(answer), portrait_box) > 0.6
    face = answer.faces[0]
    assert face.label == "no_mask"
    assert face.probabilities.no_mask > 0.9
    assert face.probabilities.mask + face.probabilities.no_mask == pytest.approx(1)
    assert answer.summary.model_dump() == {"mask": 0, "no_mask": 1, "uncertain": 0}
    assert (answer.image.width, answer.image.height) == (512, 512)
    assert answer.model.detector == "facemask"


def test_a_masked_face(server_url: str, masked_jpeg: bytes) -> None:
    answer = prediction(post(server_url, masked_jpeg))
    assert [face.label for face in answer.faces] == ["mask"]
    assert answer.summary.mask == 1


def test_the_three_ways_to_send_a_picture_get_the_same_answer(
    server_url: str, portrait_jpeg: bytes
) -> None:
    raw = prediction(post(server_url, portrait_jpeg))
    form = requests.post(
        f"{server_url}/predict", files={"image": ("face.jpg", portrait_jpeg)}, timeout=TIMEOUT_S
    )
    text = {"image": base64.b64encode(portrait_jpeg).decode()}
    in_json = requests.post(f"{server_url}/predict", json=text, timeout=TIMEOUT_S)
    chunked = requests.post(
        f"{server_url}/predict", data=iter([portrait_jpeg]), headers=JPEG, timeout=TIMEOUT_S
    )
    for other in (form, in_json, chunked):
        assert prediction(other).faces == raw.faces


@pytest.mark.parametrize(("suffix", "kind"), [(".png", "image/png"), (".webp", "image/webp")])
def test_png_and_webp(server_url: str, portrait: Image, suffix: str, kind: str) -> None:
    answer = prediction(post(server_url, encoded(portrait, suffix), kind))
    assert [face.label for face in answer.faces] == ["no_mask"]


def test_grey_cmyk_16_bit_and_transparent_pictures_are_answered(
    server_url: str, portrait: Image
) -> None:
    picture = PillowImage.fromarray(portrait)
    for mode, file_format in (("L", "JPEG"), ("CMYK", "JPEG"), ("RGBA", "PNG"), ("LA", "PNG")):
        buffer = io.BytesIO()
        picture.convert(mode).save(buffer, file_format)
        answer = prediction(post(server_url, buffer.getvalue(), f"image/{file_format.lower()}"))
        assert [face.label for face in answer.faces] == ["no_mask"], mode
    grey = np.asarray(cv2.cvtColor(portrait, cv2.COLOR_RGB2GRAY), np.uint8)
    answer = prediction(post(server_url, png_of_16_bits(grey), "image/png"))
    assert [face.label for face in answer.faces] == ["no_mask"]


def test_the_box_is_where_the_viewer_of_a_rotated_picture_sees_the_face(
    server_url: str, portrait: Image, portrait_box: Box
) -> None:
    exif = PillowImage.Exif()
    exif[0x0112] = 6  # stored lying on its left side
    buffer = io.BytesIO()
    stored = PillowImage.fromarray(portrait[:400]).rotate(90, expand=True)
    stored.save(buffer, "JPEG", exif=exif)
    answer = prediction(post(server_url, buffer.getvalue()))
    assert (answer.image.width, answer.image.height) == (512, 400)
    assert overlap(one_face(answer), portrait_box) > 0.6


@pytest.mark.parametrize("settings", [{"DETECTORS": "haar"}, {"DETECTOR": "haar"}])
def test_haar_finds_the_face_too_where_it_is_offered(
    settings: dict[str, str], portrait_jpeg: bytes, portrait_box: Box
) -> None:
    with serving(**settings) as url:
        assert "facemask" in requests.get(f"{url}/model", timeout=TIMEOUT_S).json()["detectors"]
        answer = prediction(post(url, portrait_jpeg, query="?detector=haar&min_confidence=0.5"))
    assert answer.model.detector == "haar"
    assert overlap(one_face(answer), portrait_box) > 0.5


def test_of_too_many_faces_the_largest_are_judged(portrait: Image) -> None:
    small = np.full_like(portrait, 255)
    small[:256, :256] = portrait[::2, ::2]
    with serving(MAX_FACES="1") as url:
        answer = prediction(post(url, encoded(np.hstack([small, portrait]))))
    assert one_face(answer).x > 512
    assert answer.faces_left_out == 1
    assert answer.summary.no_mask == 1


LEFT_HALF, RIGHT_HALF = "0,0,0.5,1", "0.5,0,0.5,1"


@pytest.mark.parametrize(
    ("query", "labels"),
    [
        (f"?ignore={LEFT_HALF}", ["mask"]),
        (f"?ignore={RIGHT_HALF}", ["no_mask"]),
        (f"?ignore={LEFT_HALF};{RIGHT_HALF}", []),
        (f"?ignore={LEFT_HALF}&ignore={RIGHT_HALF}", []),
        ("?ignore=0,0,0.1,0.1", ["no_mask", "mask"]),
        # Their shorter sides have 101 and 102 pixels.
        ("?smallest_face=102", ["mask"]),
        ("?smallest_face=200", []),
    ],
)
def test_faces_that_are_ignored_or_too_small_are_left_out(
    server_url: str, query: str, labels: list[str]
) -> None:
    answer = prediction(post(server_url, (ROOT / "docs" / "faces.jpg").read_bytes(), query=query))
    found = sorted(answer.faces, key=lambda face: face.box.x)
    assert [face.label for face in found] == labels
    assert answer.faces_left_out == 2 - len(labels)


@pytest.mark.parametrize("sent", ["form", "json"])
def test_zones_beside_the_picture(server_url: str, sent: str) -> None:
    picture = (ROOT / "docs" / "faces.jpg").read_bytes()
    zones = ";".join(["0,0,0.5,1"] * 20)
    body: dict[str, object] = {"data": {"ignore": zones}, "files": {"image": picture}}
    if sent == "json":
        body = {"json": {"ignore": zones, "image": base64.b64encode(picture).decode()}}
    answer = requests.post(f"{server_url}/predict", timeout=TIMEOUT_S, **body)  # type: ignore[arg-type]
    assert [face.label for face in prediction(answer).faces] == ["mask"]


def test_pixels_of_the_smallest_face_are_those_of_the_whole_picture(server_url: str) -> None:
    picture = PillowImage.open(ROOT / "docs" / "faces.jpg")
    buffer = io.BytesIO()
    picture.resize((picture.width * 6, picture.height * 6)).save(buffer, "JPEG")
    for pixels, faces in ((400, 2), (800, 0)):  # it is searched shrunk to a quarter
        query = f"?smallest_face={pixels}"
        assert len(prediction(post(server_url, buffer.getvalue(), query=query)).faces) == faces


def test_the_answer_says_below_which_size_no_faces_are_looked_for(
    server_url: str, portrait: Image, portrait_jpeg: bytes
) -> None:
    """In a wide picture an empty list may only mean that its faces are too small."""
    wide = np.full((1000, 12_000, 3), 120, np.uint8)
    wide[300:428, 6000:6128] = portrait[::4, ::4]  # a face of 23 pixels
    panorama = prediction(post(server_url, encoded(wide)))
    assert panorama.faces == []
    assert panorama.image.smallest_face == 209
    wide[50:950, 6000:6900] = cv2.resize(portrait[:256, 100:356], (900, 900))
    larger = prediction(post(server_url, encoded(wide)))
    assert one_face(larger).short_side >= 209
    single = prediction(post(server_url, portrait_jpeg))
    assert one_face(single).short_side > single.image.smallest_face


def test_min_confidence_leaves_faces_out(server_url: str, portrait_jpeg: bytes) -> None:
    assert prediction(post(server_url, portrait_jpeg, query="?min_confidence=1")).faces == []


@pytest.mark.parametrize("asked", [{"query": "?annotate=true"}, {"accept": "image/jpeg"}])
def test_the_annotated_picture(
    server_url: str, portrait: Image, portrait_jpeg: bytes, asked: dict[str, str]
) -> None:
    headers = JPEG | ({"Accept": asked["accept"]} if "accept" in asked else {})
    address = f"{server_url}/predict{asked.get('query', '')}"
    response = requests.post(address, data=portrait_jpeg, headers=headers, timeout=TIMEOUT_S)
    assert response.headers["Content-Type"] == "image/jpeg"
    drawn = cv2.imdecode(np.frombuffer(response.content, np.uint8), cv2.IMREAD_COLOR_RGB)
    box = one_face(prediction(post(server_url, portrait_jpeg)))
    rows, columns = slice(box.y, box.y + box.height), slice(box.x, box.x + box.width)
    right, bottom = drawn[rows, box.x + box.width], drawn[box.y + box.height, columns]
    for edge in (drawn[rows, box.x], right, bottom):
        assert np.abs(np.median(edge, axis=0) - COLOURS["no_mask"]).max() < 30
    middle = (slice(rows.start + 30, rows.stop - 10), slice(columns.start + 10, columns.stop - 10))
    assert np.abs(drawn[middle].astype(int) - portrait[middle].astype(int)).mean() < 6


def test_an_empty_body(server_url: str) -> None:
    refused(server_url, post(server_url, b""), 422, "empty")


def test_a_truncated_jpeg(server_url: str, portrait_jpeg: bytes) -> None:
    refused(server_url, post(server_url, portrait_jpeg[:9000]), 422, "damaged")


def test_text_called_a_jpeg(server_url: str) -> None:
    refused(server_url, post(server_url, b"I am a picture."), 422, "not a JPEG, PNG, WebP or AVIF")


def test_a_picture_too_large_in_pixels(server_url: str) -> None:
    response = post(server_url, bare_png(20_000, 20_000), "image/png")
    refused(server_url, response, 413, "20000 x 20000")


def test_a_body_too_large_in_bytes(server_url: str) -> None:
    refused(server_url, post(server_url, bytes(10_000_001)), 413, "10000000 bytes")


def test_a_chunked_body_too_large_in_bytes(server_url: str) -> None:
    chunks = (bytes(1_000_000) for _ in range(12))
    response = requests.post(f"{server_url}/predict", data=chunks, headers=JPEG, timeout=TIMEOUT_S)
    refused(server_url, response, 413, "10000000 bytes")


def test_a_form_whose_field_is_empty(server_url: str) -> None:
    files = {"image": ("face.jpg", b"")}
    response = requests.post(f"{server_url}/predict", files=files, timeout=TIMEOUT_S)
    refused(server_url, response, 422, "empty")


def test_a_form_with_another_field(server_url: str, portrait_jpeg: bytes) -> None:
    files = {"file": ("face.jpg", portrait_jpeg)}
    response = requests.post(f"{server_url}/predict", files=files, timeout=TIMEOUT_S)
    refused(server_url, response, 400, "'file' in the form is unknown. Allowed: image, ")


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"image": 7}'])
def test_json_that_holds_no_picture(server_url: str, text: str) -> None:
    answer = post(server_url, text.encode(), "application/json")
    refused(server_url, answer, 400, '{"image": "<base64>"}')


def test_no_length_and_no_chunks(server_url: str) -> None:
    address = urlsplit(server_url)
    with socket.create_connection(
        (address.hostname, address.port), timeout=TIMEOUT_S
    ) as connection:
        connection.sendall(
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n\r\n"
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 411 ")


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("?detector=eyes", "detector"),
        ("?min_confidence=7", "min_confidence"),
        ("?min_confidence=nan", "min_confidence"),
        ("?annotate=perhaps", "annotate"),
        ("?confidence=0.5", "confidence"),
        ("?smallest_face=0", "smallest_face"),
        ("?ignore=0,0,1", "ignore: A zone is x,y,width,height in fractions"),
        ("?ignore=0,0,2,1", "ignore"),
        ("?ignore=", "ignore"),
        ("?" + "&".join(["ignore=0,0,1,1"] * 21), "Send at most 20"),
    ],
)
def test_a_bad_parameter_is_named(
    server_url: str, portrait_jpeg: bytes, query: str, words: str
) -> None:
    refused(server_url, post(server_url, portrait_jpeg, query=query), 400, words)


@pytest.mark.parametrize("detector", ["haar", "ssd"])
def test_a_dearer_detector_is_not_offered_by_default(
    server_url: str, portrait_jpeg: bytes, detector: str
) -> None:
    response = post(server_url, portrait_jpeg, query=f"?detector={detector}")
    refused(
        server_url,
        response,
        400,
        f"Detector '{detector}' is not offered here. Use one of: facemask",
    )
