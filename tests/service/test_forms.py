"""A picture is judged in any form; what is not understood is refused, with a remedy."""

import base64
import gzip
import json
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
import requests
from PIL import Image as PillowImage

from model.images import Image
from tests.conftest import ROOT, TIMEOUT_S, encoded
from tests.model.test_images import saved
from tests.service.test_predict import post, prediction, refused

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
NAMELESS = b"--x\r\nContent-Disposition: attachment; filename=a.jpg\r\n\r\n1\r\n--x--"
PARAMETERS = ("min_confidence", "annotate", "detector")

Part = tuple[str, str | None, bytes]


def as_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def send_form(url: str, *parts: Part, query: str = "") -> requests.Response:
    """Send parts (name, file name, content) as multipart, exactly as they are given."""
    files = [(name, (file, content)) for name, file, content in parts]
    return requests.post(f"{url}/predict{query}", files=files, timeout=TIMEOUT_S)


def send_json(url: str, fields: object, query: str = "") -> requests.Response:
    return requests.post(f"{url}/predict{query}", json=fields, timeout=TIMEOUT_S)


def send_fields(url: str, fields: dict[str, str], query: str = "") -> requests.Response:
    return requests.post(f"{url}/predict{query}", data=fields, timeout=TIMEOUT_S)


def of_query(url: str, picture: bytes, fields: dict[str, str]) -> requests.Response:
    return requests.post(f"{url}/predict", data=picture, params=fields, timeout=TIMEOUT_S)


def of_form(url: str, picture: bytes, fields: dict[str, str]) -> requests.Response:
    parts = [(name, None, value.encode()) for name, value in fields.items()]
    return send_form(url, *parts, ("image", "face.jpg", picture))


def of_fields(url: str, picture: bytes, fields: dict[str, str]) -> requests.Response:
    return send_fields(url, fields | {"image": as_base64(picture)})


def of_json(url: str, picture: bytes, fields: dict[str, str]) -> requests.Response:
    return send_json(url, fields | {"image": as_base64(picture)})


WAYS = [of_query, of_form, of_fields, of_json]
Way = Callable[[str, bytes, dict[str, str]], requests.Response]


@pytest.mark.parametrize("way", WAYS)
def test_parameters_count_wherever_they_are_sent(
    server_url: str, portrait_jpeg: bytes, way: Way
) -> None:
    assert len(prediction(way(server_url, portrait_jpeg, {"detector": "facemask"})).faces) == 1
    assert prediction(way(server_url, portrait_jpeg, {"min_confidence": "1"})).faces == []
    drawn = way(server_url, portrait_jpeg, {"annotate": "true"})
    assert drawn.headers["Content-Type"] == "image/jpeg"


@pytest.mark.parametrize("way", WAYS)
def test_bad_and_unknown_parameters_are_named_wherever_they_are_sent(
    server_url: str, portrait_jpeg: bytes, way: Way
) -> None:
    for name, value in (("detector", "eyes"), ("min_confidence", "7"), ("annotate", "perhaps")):
        refused(server_url, way(server_url, portrait_jpeg, {name: value}), 400, name)
    answer = way(server_url, portrait_jpeg, {"detector": "haar"})
    refused(server_url, answer, 400, "Use one of: facemask")
    answer = way(server_url, portrait_jpeg, {"confidence": "0.5"})
    refused(server_url, answer, 400, "'confidence'")
    assert all(each in answer.json()["detail"] for each in PARAMETERS)


def test_numbers_and_truths_of_json_are_parameters(server_url: str, portrait_jpeg: bytes) -> None:
    fields = {"image": as_base64(portrait_jpeg), "min_confidence": 1, "annotate": False}
    assert prediction(send_json(server_url, fields)).faces == []


def test_null_in_json_is_a_parameter_that_is_not_given(
    server_url: str, portrait_jpeg: bytes
) -> None:
    nothing = dict.fromkeys(("detector", "min_confidence", "smallest_face", "ignore"))
    answer = send_json(server_url, nothing | {"image": as_base64(portrait_jpeg)})
    assert len(prediction(answer).faces) == 1


def test_a_second_picture_is_refused(server_url: str, portrait_jpeg: bytes) -> None:
    part = ("image", "face.jpg", portrait_jpeg)
    refused(server_url, send_form(server_url, part, part), 400, "'image' is in the form more than")
    text = f'"image": "{as_base64(portrait_jpeg)}"'
    twice = post(server_url, f"{{{text}, {text}}}".encode(), JSON)
    refused(server_url, twice, 400, "'image' is in the JSON more than once")
    twice = post(server_url, b"image=%2F9j%2F&image=%2F9j%2F", FORM)
    refused(server_url, twice, 400, "'image' is in the form more than once")


def test_a_parameter_given_twice_is_refused(server_url: str, portrait_jpeg: bytes) -> None:
    twice = post(server_url, portrait_jpeg, query="?min_confidence=0.3&min_confidence=0.9")
    refused(server_url, twice, 400, "'min_confidence' is in the query more than once")
    part = ("detector", None, b"facemask")
    twice = send_form(server_url, part, part, ("image", "a.jpg", portrait_jpeg))
    refused(server_url, twice, 400, "'detector' is in the form more than once")
    stream = requests.get(f"{server_url}/stream?detector=facemask&detector=haar", timeout=TIMEOUT_S)
    assert stream.status_code == 400
    assert "'detector' is in the query more than once" in stream.json()["detail"]


def test_a_query_and_a_body_may_agree_and_not_differ(server_url: str, portrait_jpeg: bytes) -> None:
    image, query = as_base64(portrait_jpeg), "?min_confidence=0.50"
    part = ("image", "a.jpg", portrait_jpeg)
    for send, same, other in (
        (send_json, {"image": image, "min_confidence": 0.5}, {"min_confidence": 0.6}),
        (send_fields, {"image": image, "min_confidence": ".5"}, {"min_confidence": "0.6"}),
    ):
        assert len(prediction(send(server_url, same, query)).faces) == 1
        differs = send(server_url, same | other, query)
        refused(server_url, differs, 422, "'min_confidence' differs between the query and the body")
    for value, status in ((b"0.5", 200), (b"0.6", 422)):
        answer = send_form(server_url, ("min_confidence", None, value), part, query=query)
        assert answer.status_code == status


@pytest.mark.parametrize(
    "kind",
    [
        *("image/jpg", "image/pjpeg", "image/x-png", "image/png", "application/octet-stream", ""),
        *("text/plain", JSON, FORM, "multipart/form-data", "multipart/form-data; boundary=x"),
    ],
)
def test_a_picture_is_known_by_its_bytes(
    server_url: str, portrait_jpeg: bytes, portrait: Image, kind: str
) -> None:
    """A program that sends bytes without more, as curl --data-binary, calls them a form."""
    headers = {"Content-Type": kind} if kind else {}
    for picture in (portrait_jpeg, encoded(portrait, ".png")):
        answer = requests.post(f"{server_url}/predict", picture, headers=headers, timeout=TIMEOUT_S)
        assert len(prediction(answer).faces) == 1


def test_avif_is_judged_as_phones_and_browsers_send_it(server_url: str, portrait: Image) -> None:
    data = saved(PillowImage.fromarray(portrait), "AVIF")
    answer = prediction(post(server_url, data, "image/avif"))
    assert [face.label for face in answer.faces] == ["no_mask"]
    assert (answer.image.width, answer.image.height) == (512, 512)


@pytest.mark.parametrize(
    "write",
    [
        lambda data: f"data:image/jpeg;base64,{as_base64(data)}",
        lambda data: f"data:image/jpeg;charset=utf-8;base64,{as_base64(data)}",
        lambda data: "data:image/jpeg;base64," + quote(as_base64(data), safe=""),
        lambda data: base64.encodebytes(data).decode(),
        lambda data: base64.encodebytes(data).decode().replace("\n", "\r\n"),
        lambda data: base64.urlsafe_b64encode(data).decode().rstrip("="),
    ],
    ids=[
        "data URI",
        "data URI with charset",
        "data URI as browsers escape it",
        "lines",
        "lines of Windows",
        "of addresses",
    ],
)
def test_base64_as_programs_write_it(
    server_url: str, portrait_jpeg: bytes, write: Callable[[bytes], str]
) -> None:
    text = write(portrait_jpeg)
    body = b"\xef\xbb\xbf" + json.dumps({"image": text}).encode()
    part = ("image", None, text.encode())
    for answer in (
        send_json(server_url, {"image": text}),
        post(server_url, body, JSON),
        post(server_url, body, "text/plain"),
        send_fields(server_url, {"image": text}),
        send_form(server_url, part),
        post(server_url, text.encode(), "text/plain"),
    ):
        assert len(prediction(answer).faces) == 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_base64_of_every_kind_is_known_as_such(server_url: str, portrait: Image, kind: str) -> None:
    text = as_base64(saved(PillowImage.fromarray(portrait), kind)).encode()
    answer = send_form(server_url, ("image", None, text))
    assert len(prediction(answer).faces) == 1


def test_base64_whose_plus_signs_were_not_escaped(server_url: str, portrait_jpeg: bytes) -> None:
    body = f"image={as_base64(portrait_jpeg)}".encode()
    assert b"+" in body
    assert len(prediction(post(server_url, body, FORM)).faces) == 1


def test_a_part_without_a_file_name_is_a_picture_all_the_same(
    server_url: str, portrait_jpeg: bytes
) -> None:
    head = b'--x\r\nContent-Disposition: form-data; name="image"\r\n\r\n'
    body = head + portrait_jpeg + b"\r\n--x--\r\n"
    for kind in ("form-data", "mixed", "related"):
        answer = post(server_url, body, f"multipart/{kind}; boundary=x")
        assert len(prediction(answer).faces) == 1


def test_a_compressed_body_is_refused_in_words(server_url: str, portrait_jpeg: bytes) -> None:
    for encoding in ("gzip", "deflate", "br", "GZIP"):
        headers = {"Content-Type": "image/jpeg", "Content-Encoding": encoding}
        body = gzip.compress(portrait_jpeg)
        answer = requests.post(f"{server_url}/predict", body, headers=headers, timeout=TIMEOUT_S)
        refused(server_url, answer, 415, "without Content-Encoding")
    headers = {"Content-Encoding": "identity"}
    answer = requests.post(
        f"{server_url}/predict", portrait_jpeg, headers=headers, timeout=TIMEOUT_S
    )
    assert len(prediction(answer).faces) == 1


@pytest.mark.parametrize(
    ("kind", "body", "status", "words"),
    [
        ("multipart/form-data", b"--x\r\nContent-Disposition: form-data", 400, "no boundary"),
        (
            "application/octet-stream",
            b"--x\r\nContent-Disposition: form-data",
            400,
            "no boundary",
        ),
        ("multipart/form-data; boundary=y", b"--x\r\nsome", 400, "with the boundary"),
        (FORM, b"file=face.jpg", 400, "Allowed: image, "),
        (FORM, b"detector=facemask", 400, "curl -F image=@picture.jpg"),
        (FORM, b"image=face.jpg", 422, "image=@picture.jpg"),
        (FORM, b"image=" + b"%41" * 500_001, 422, "not a JPEG"),
        ("text/plain", b"https://site.example/face.jpg", 422, "download the picture"),
        (FORM, b"https://site.example/face?size=1", 422, "download the picture"),
        (JSON, b'{"image": "https://site.example/face.jpg"}', 400, "download the picture"),
        (JSON, b'{"url": "https://site.example/face.jpg"}', 400, "download the picture"),
        ("multipart/form-data; boundary=x", b"--x\r\nA: b\r\n\r\n1\r\n--x--", 400, "has no name"),
        ("multipart/form-data; boundary=x", NAMELESS, 400, "has no name"),
        (JSON, b'{"image": "face.jpg"}', 422, "the name of a file"),
        (JSON, b'{"image": "s3://bucket/face.jpg"}', 400, "download the picture"),
        (JSON, b'{"image_url": "rtsp://camera/1"}', 400, "download the picture"),
        (JSON, b'{"image": "b\'/9j/\'"}', 422, 'character 2 is "\'"'),
        (JSON, b'{"image": "/9j/", "min_confidence": true}', 400, "min_confidence: Input"),
        (JSON, b'{"image": "/9j/", "smallest_face": false}', 400, "smallest_face: Input"),
        (JSON, b'{"image": "data:image/jpeg,%ff%d8"}', 422, "base64"),
        (JSON, b'{"image": null}', 400, "'image'"),
        (JSON, b'"text"', 400, "no object"),
        (JSON, b'{"image": ', 400, "line 1"),
        (JSON, '{"image": ""}'.encode("utf-16"), 400, "UTF-8"),
        (JSON, b'{"\\ud800": 1}', 400, "Allowed: image, "),
        ("text/html", b"<!DOCTYPE html><html></html>", 422, "HTML page"),
        ("image/heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", 422, "HEIC picture"),
        ("image/jpeg", b"", 422, "empty"),
        (JSON, b"", 422, "empty"),
        ("multipart/form-data; boundary=x", b"", 422, "empty"),
    ],
)
def test_errors_name_the_cause_and_the_remedy(
    server_url: str, kind: str, body: bytes, status: int, words: str
) -> None:
    refused(server_url, post(server_url, body, kind), status, words)


def test_a_text_field_that_should_be_a_file(server_url: str) -> None:
    """As curl -F image=face.jpg sends it, without the @."""
    answer = send_form(server_url, ("image", None, b"face.jpg"))
    refused(server_url, answer, 422, "image=@picture.jpg")


def test_a_long_name_is_not_answered_in_full(server_url: str) -> None:
    answer = send_json(server_url, {"x" * 1_000_000: 1})
    refused(server_url, answer, 400, "Allowed: image, ")
    assert len(answer.content) < 1000


def test_curl_uploads_with_put(server_url: str, portrait_jpeg: bytes, tmp_path: Path) -> None:
    file = tmp_path / "face.jpg"
    file.write_bytes(portrait_jpeg)
    command = ["curl", "-s", "-m", str(TIMEOUT_S), "-T", str(file), f"{server_url}/predict"]
    answer = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert [face["label"] for face in answer["faces"]] == ["no_mask"]


def test_predict_opened_in_a_browser_explains_itself(server_url: str) -> None:
    browser = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
    page = requests.get(f"{server_url}/predict", headers=browser, timeout=TIMEOUT_S)
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert 'href="."' in page.text
    assert 'href="docs"' in page.text
    program = requests.get(f"{server_url}/predict", timeout=TIMEOUT_S)
    assert program.headers["Content-Type"] == "application/problem+json"
    assert "POST" in program.json()["detail"]
    for answer in (page, program):
        assert answer.status_code == 405
        assert {"POST", "PUT"} <= set(answer.headers["Allow"].split(", "))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no_eoi.jpg", ""),
        ("c.jfif", ""),
        ("phone.avif", ""),
        ("phone.heic", "HEIC"),
        ("a.bmp", "BMP"),
        ("a.tif", "TIFF"),
    ],
)
def test_files_that_users_sent(server_url: str, shared: Path, name: str, words: str) -> None:
    answer = post(server_url, (shared / "cases/formats" / name).read_bytes(), "")
    if words:
        refused(server_url, answer, 422, f"This is a {words}")
        assert "Convert it to JPEG" in answer.json()["detail"]
    else:
        faces = prediction(answer).faces
        assert sorted(face.label for face in faces) == ["mask", "no_mask"]


def test_the_documentation_shows_commands_that_work(server_url: str) -> None:
    section = (ROOT / "docs/api.md").read_text().split("## Send a picture")[1].split("##")[0]
    commands = [line.strip() for line in section.splitlines() if line.startswith("    curl")]
    for command in (each for each in commands if "<base64>" not in each and each[-1] != "\\"):
        words = shlex.split(command.replace("localhost:8000", server_url.removeprefix("http://")))
        done = subprocess.run([*words, "-s"], cwd=ROOT, capture_output=True, check=True)
        assert len(json.loads(done.stdout)["faces"]) == 2, command
