"""Passwords in addresses are never shown or written, whatever characters they contain."""

from __future__ import annotations

import socket
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from client import arguments, shown
from client.__main__ import names, tell
from client.sources import name_of
from tests.client.stand_in import Service, camera, interrupt, lines_of, run, start, wait_for

# No shown address contains these characters by itself, so finding one means a leaked secret.
MARKED = st.tuples(st.text(max_size=12), st.text(max_size=12)).map("S3CR3T".join)
SCHEMES = st.from_regex(r"[a-zA-Z][a-zA-Z0-9+.-]{0,8}://?", fullmatch=True) | st.sampled_from(
    ["rtsp://", "rtsps://", "http://", "https://", "rtmp://", "srt://", ""]
)
HOSTS = st.sampled_from(["cam", "192.168.1.7:554", "[fe80::1]:554"])
PATHS = st.sampled_from(["", "/", "/stream", "/a/b.sdp", "/live;x"])


@settings(max_examples=1000, deadline=None)
@given(SCHEMES, st.text(max_size=8), MARKED, HOSTS, PATHS)
@example("rtsp://", "admin", "pa#s3cr3tS3CR3T", "cam", "/stream")
@example("rtsp://", "admin", "S3CR3T?x=@y", "cam", "/stream?a=b")
def test_a_password_is_never_shown(scheme: str, user: str, password: str, host: str, path: str):
    address = f"{scheme}{user}:{password}@{host}{path}"
    assert "S3CR3T" not in shown.address(address)
    assert "S3CR3T" not in name_of(address)
    as_it_should_be = f"rtsp://{quote(user, safe='')}:{quote(password, safe='')}@{host}{path}"
    assert shown.address(as_it_should_be).startswith(f"rtsp://{host}")


@settings(max_examples=1000, deadline=None)
@given(st.from_regex(r"[a-zA-Z][a-zA-Z0-9+.-]{1,8}://", fullmatch=True), MARKED)
def test_a_password_without_a_usable_at_sign_is_never_shown(scheme: str, password: str):
    """The host is forgotten, or the @ was encoded or typed on a Chinese keyboard."""
    assume(not set("@/") & set(password))
    for rest in ("", "/stream", "%40cam/stream", "\uff20cam/stream"):
        assert "S3CR3T" not in shown.address(f"{scheme}admin:{password}{rest}")
    for path in ("user:admin/password:", "%3Fpassword%3d"):
        assert "S3CR3T" not in shown.address(f"{scheme}cam/{path}{password}")


def test_a_usual_address_is_shown_whole():
    for address in ("rtsp://cam-1.local:554/live/1", "http://[fe80::1%25eth0]:80/a", "rtsp://cam"):
        assert shown.address(address) == address


@settings(max_examples=1000, deadline=None)
@given(SCHEMES, HOSTS, st.sampled_from(["/live", "/a/b"]), st.text(max_size=8), MARKED)
@example("rtsp://", "cam", "/live", "password", "p@S3CR3T")
def test_a_value_of_a_query_is_never_shown(
    scheme: str, host: str, path: str, name: str, secret: str
):
    for start_of_query in ("?", "/"):  # some cameras have /user=admin&password=secret
        address = f"{scheme}{host}{path}{start_of_query}{name}={secret}"
        assert "S3CR3T" not in shown.address(address)


@settings(deadline=None)
@given(MARKED)
def test_a_secret_is_not_in_an_argument_error(secret: str):
    assume("\0" not in secret)
    for wrong in (
        ["--url", f"ftp://user:{secret}@host"],
        ["--webhook", f"ftp://host/?token={secret}"],
        ["--mqtt", f"mqtt://user:{secret}@host/%23"],
        [f"rtsp://user:{secret}@cam/stream"],
        ["--detector", f"rtsp://user:{secret}@cam/stream"],
        [f"--sour=rtsp://cam/?a={secret}", "--no-such-option"],
        ["--timeout", f"rtsp://user:{secret}@cam/stream"],
        ["--min-confidence", f"http://cam?password={secret}"],
    ):
        said: list[str] = []
        parser_exit = arguments.Parser.exit
        try:
            arguments.Parser.exit = lambda _, code, text, said=said: refuse(code, text, said)
            with pytest.raises(SystemExit):
                arguments.parse(wrong)
        finally:
            arguments.Parser.exit = parser_exit
        assert "S3CR3T" not in said[0]
        assert len(said[0].splitlines()) == 1


def refuse(code: int, text: str, said: list[str]) -> None:
    said.append(text)
    raise SystemExit(code)


def test_a_traceback_has_no_text_that_may_hold_an_address(capsys: pytest.CaptureFixture[str]):
    address = "rtsp://admin:s3cr3t" + "@cam"

    def fail() -> None:
        try:
            int(address)
        except ValueError as error:
            raise RuntimeError(address) from error

    with pytest.raises(RuntimeError) as caught:
        fail()
    tell(caught.type, caught.value, caught.tb)
    said = capsys.readouterr().err
    assert address not in said
    assert "in fail" in said
    assert "RuntimeError" in said
    assert "ValueError" in said


@pytest.mark.parametrize(
    "address",
    [
        "rtsp://admin:pa#s3cr3t@127.0.0.1:{port}/stream",
        "rtsp://admin:pa/s3cr3t@127.0.0.1:{port}/stream",
        "rtsp://admin:pa?s3cr3t@127.0.0.1:{port}/stream",
        "rtsp://admin:pas3cr3t@127.0.0.1:{port}/stream",
        "rtsp://127.0.0.1:{port}/stream?user=a&password=s3cr3t",
        "http://admin:pas3cr3t@127.0.0.1:{port}/stream",
        "http://127.0.0.1:{port}/stream?token=s3cr3t",
        "rtmp://admin:pas3cr3t@127.0.0.1:{port}/stream",
        "rtsp:/admin:pas3cr3t@127.0.0.1:{port}/stream",
        "admin:s3cr3t@127.0.0.1",
        "rtsp://admin:pas3cr3t@127.0.0.1:999999/stream",
    ],
)
def test_a_camera_that_is_not_there_is_named_without_its_password(address: str):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    done = run("--source", address.format(port=port), "--no-window")
    assert done.returncode == 1
    assert "s3cr3t" not in done.stdout + done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_no_file_holds_the_password_of_a_camera(tmp_path: Path):
    files = [tmp_path / name for name in ("events.csv", "events.jsonl", "answers.jsonl")]
    with camera() as live, Service().serving() as port:
        client = start(
            *("--url", f"http://me:s3cr3t@127.0.0.1:{port}", "--no-window", "--csv", str(files[0])),
            *("--jsonl", str(files[1]), "--answers", str(files[2])),
            *("--source", f"http://u:s3cr3t@127.0.0.1:{live}/camera?password=s3cr3t"),
            *("--source", f"http://127.0.0.1:{live}/camera?password=other-s3cr3t"),
        )
        wait_for(lambda: len(lines_of(files[2])) >= 8, "eight answers")
        done = interrupt(client)
    assert done.returncode == 0, done.stderr
    written = "".join(file.read_text() for file in files)
    assert "s3cr3t" not in written + done.stdout + done.stderr
    assert {line["source"] for line in lines_of(files[2])} == {
        f"http://127.0.0.1:{live}/camera…",
        f"http://127.0.0.1:{live}/camera… (2)",
    }


def test_a_service_that_is_away_is_named_without_its_password():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    done = run(
        *("--url", f"http://me:s3cr3t@127.0.0.1:{port}/a?key=s3cr3t", "--no-window"),
        *("--source", str(Path(__file__).parents[2] / "docs/faces.jpg"), "--give-up", "0.2"),
    )
    assert done.returncode == 1
    assert f"http://127.0.0.1:{port}/a…" in done.stderr
    assert "given up" in done.stderr
    assert "s3cr3t" not in done.stdout + done.stderr


def test_sources_that_would_be_called_the_same_are_numbered():
    given = ["rtsp://a:b@cam/1?c=1", "rtsp://cam/1?c=2", "0"]
    assert names(given) == ["rtsp://cam/1…", "rtsp://cam/1… (2)", "camera 0"]
