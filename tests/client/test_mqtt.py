"""The state of each source on a real MQTT broker, through all that can go wrong there."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from urllib.parse import quote

import cv2
import pytest

from client import arguments
from client.mqtt import broker as address_of
from model.images import Image
from tests.client.broker import PASSWORD, USER, Broker, Listener
from tests.client.stand_in import (
    FACE,
    Service,
    camera,
    film,
    finish,
    interrupt,
    lines_of,
    run,
    start,
    wait_for,
)

BARE = FACE | {"label": "no_mask", "probabilities": {"mask": 0.02, "no_mask": 0.98}}
DEVICE = {
    ("binary_sensor", "Somebody without a mask", "problem"),
    ("sensor", "With a mask", None),
    ("sensor", "Without a mask", None),
    ("sensor", "Uncertain", None),
    ("sensor", "Compliance", None),
}


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path).running() as running:
        yield running


@pytest.fixture
def listener(broker: Broker) -> Iterator[Listener]:
    with Listener(broker).listening() as listening:
        yield listening


def configs(listener: Listener) -> dict[str, dict]:
    """Return the discovery messages heard, by topic."""
    found = {topic: payload for topic, payload in listener.heard if topic.endswith("/config")}
    return {topic: json.loads(payload) for topic, payload in found.items()}


def test_home_assistant_finds_a_device_and_its_states_while_a_film_plays(
    tmp_path: Path,
    server_url: str,
    broker: Broker,
    listener: Listener,
    portrait: Image,
    masked_portrait: Image,
) -> None:
    source = tmp_path / "film.mp4"
    writer = cv2.VideoWriter(str(source), cv2.VideoWriter.fourcc(*"mp4v"), 10, (512, 512))
    for image in [masked_portrait] * 120 + [portrait] * 40:
        writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    writer.release()
    command = (
        *("--url", server_url, "--source", str(source), "--no-window"),
        *("--mqtt", f"mqtt://127.0.0.1:{broker.port}/school/door"),
    )
    done = run(*command)
    assert done.returncode == 0, done.stderr
    assert "MQTT" not in done.stderr
    wait_for(lambda: listener.under("/availability")[-1:] == ["offline"], "the clean end")

    found = configs(listener)
    assert {
        (topic.split("/")[1], config["name"], config.get("device_class"))
        for topic, config in found.items()
    } == DEVICE
    assert all(topic.startswith("homeassistant/") for topic in found)
    assert len({config["unique_id"] for config in found.values()}) == len(DEVICE)
    (device,) = {json.dumps(config["device"]) for config in found.values()}
    assert json.loads(device)["name"] == str(source)
    (state_topic,) = {config["state_topic"] for config in found.values()}
    (availability,) = {config["availability_topic"] for config in found.values()}
    assert state_topic.startswith("school/door/")

    turns = listener.under(availability)
    assert turns[-2:] == ["online", "offline"]
    assert all(one != other for one, other in pairwise(turns))
    states = listener.states()
    masked = {"mask": 1, "no_mask": 0, "uncertain": 0, "compliance": 100.0}
    bare = {"mask": 0, "no_mask": 1, "uncertain": 0, "compliance": 0.0}
    assert masked | {"no_mask_confirmed": False} in states
    assert states[-1] == bare | {"no_mask_confirmed": True}
    assert all(one != other for one, other in pairwise(states))

    with Listener(broker).listening() as late:  # all of it is retained
        wait_for(lambda: late.under("/availability"), "what the broker keeps")
        assert configs(late) == found
        assert late.states() == states[-1:]
        assert late.under("/availability") == ["offline"]
    listener.forget()
    assert run(*command).returncode == 0
    wait_for(lambda: configs(listener) == found, "the same device again, not a second one")


def test_two_sources_are_two_devices(tmp_path: Path, broker: Broker, listener: Listener) -> None:
    films = [film(tmp_path / name, frames=10, fps=12) for name in ("a.mp4", "b.mp4")]
    with Service().serving() as port:
        done = run(
            *("--url", f"http://127.0.0.1:{port}", "--no-window"),
            *(part for source in films for part in ("--source", str(source))),
            *("--mqtt", f"mqtt://127.0.0.1:{broker.port}"),
        )
    assert done.returncode == 0, done.stderr
    wait_for(lambda: len(configs(listener)) == 2 * len(DEVICE), "ten entities")
    found = configs(listener).values()
    devices = {tuple(config["device"]["identifiers"]) for config in found}
    assert len(devices) == len({config["state_topic"] for config in found}) == 2
    assert {config["device"]["name"] for config in found} == {str(source) for source in films}


@pytest.mark.parametrize("where", ["environment", "address"])
def test_a_password_and_tls(tmp_path: Path, where: str) -> None:
    source = film(tmp_path / "film.mp4", frames=10, fps=12)
    encoded = quote(PASSWORD, safe="")
    user, environ = (
        (f"{USER}:{encoded}", {})
        if where == "address"
        else (USER, {"FACEMASK_MQTT_PASSWORD": PASSWORD})
    )
    with (
        Broker(tmp_path, password=True, tls=True).running() as broker,
        Listener(broker, password=True, tls=True).listening() as listener,
        Service().serving() as port,
    ):
        done = run(
            *("--url", f"http://127.0.0.1:{port}", "--source", str(source), "--no-window"),
            *("--mqtt", f"mqtts://{user}@127.0.0.1:{broker.port}", "--mqtt-ca", str(broker.ca)),
            **environ,
        )
        assert done.returncode == 0, done.stderr
        assert "MQTT" not in done.stderr
        wait_for(lambda: listener.under("/availability")[-1:] == ["offline"], "the end")
        assert listener.states()[-1]["mask"] == 1


def test_a_broker_that_refuses_is_reported_once_and_without_the_password(tmp_path: Path) -> None:
    with (
        Broker(tmp_path, password=True, tls=True).running() as broker,
        Listener(broker, password=True, tls=True).listening(),
        Service().serving() as port,
        camera() as live,
    ):
        place = f"mqtts://127.0.0.1:{broker.port}"
        for address, trusted, why in (
            (f"mqtts://{USER}:wr0ng@127.0.0.1:{broker.port}", [str(broker.ca)], "Not authorized"),
            (f"mqtts://{USER}:wr0ng@127.0.0.1:{broker.port}", [], "certificate is not trusted"),
        ):
            answers = tmp_path / "answers.jsonl"
            client = start(
                *("--url", f"http://127.0.0.1:{port}", "--no-window", "--answers", str(answers)),
                *("--source", f"http://127.0.0.1:{live}/", "--mqtt", address),
                *(part for ca in trusted for part in ("--mqtt-ca", ca)),
            )
            wait_for(lambda path=answers: len(lines_of(path)) >= 20, "twenty answers")
            done = interrupt(client)
            assert done.returncode == 0, done.stderr
            (said,) = [line for line in done.stderr.splitlines() if "MQTT" in line]
            assert place in said
            assert why in said
            assert "wr0ng" not in done.stderr
            answers.unlink()


def test_the_last_state_is_published_again_after_the_broker_was_killed(
    tmp_path: Path, broker: Broker, listener: Listener
) -> None:
    answers = tmp_path / "answers.jsonl"
    service = Service()
    with service.serving() as port, camera() as live:
        client = start(
            *("--url", f"http://127.0.0.1:{port}", "--no-window", "--answers", str(answers)),
            *("--source", f"http://127.0.0.1:{live}/"),
            *("--mqtt", f"mqtt://127.0.0.1:{broker.port}"),
        )
        wait_for(lambda: [s for s in listener.states() if s["mask"] == 1], "the first state")
        found = configs(listener)
        broker.kill()
        service.faces = [BARE]
        answered = len(lines_of(answers))
        wait_for(lambda: len(lines_of(answers)) >= answered + 20, "answers without a broker")
        listener.forget()
        broker.start()
        wait_for(lambda: listener.under("/availability")[-1:] == ["online"], "the broker's return")
        assert configs(listener) == found  # the broker had stored nothing
        assert listener.states()[0]["no_mask_confirmed"]  # and nothing old comes before
        wait_for(lambda: listener.states()[-1]["no_mask"] == 1, "the state since")
        done = interrupt(client)
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if "MQTT" in line]
    assert len(said) == 2, said
    assert "trying again" in said[0]
    assert "takes messages again" in said[1]


def test_without_a_broker_a_film_is_judged_to_its_end(tmp_path: Path) -> None:
    source, answers = film(tmp_path / "film.mp4", frames=10, fps=12), tmp_path / "answers.jsonl"
    with Service().serving() as port:
        done = run(
            *("--url", f"http://127.0.0.1:{port}", "--source", str(source), "--no-window"),
            *("--answers", str(answers), "--mqtt", "mqtt://u:s3cr3t@127.0.0.1:1"),
        )
    assert done.returncode == 0, done.stderr
    assert len(lines_of(answers)) == 10
    assert "mqtt://127.0.0.1:1 does not take messages (Connection refused)" in done.stderr
    assert "s3cr3t" not in done.stdout + done.stderr


def test_a_broker_that_never_answers_is_reported_at_the_end(tmp_path: Path) -> None:
    """Such as a wrong port, where another program listens."""
    with socket.create_server(("127.0.0.1", 0)) as silent, Service().serving() as port:
        address = f"mqtt://u:S3CR3T@127.0.0.1:{silent.getsockname()[1]}"
        source = str(film(tmp_path / "film.mp4", 3, 12))
        url = f"http://127.0.0.1:{port}"
        done = run("--url", url, "--source", source, "--no-window", "--mqtt", address)
    assert done.returncode == 0, done.stderr
    assert "did not confirm the last state" in done.stderr
    assert "S3CR3T" not in done.stderr


def test_a_killed_client_is_reported_offline_by_the_broker(
    broker: Broker, listener: Listener
) -> None:
    with Service().serving() as port, camera() as live:
        client = start(
            *("--url", f"http://127.0.0.1:{port}", "--no-window"),
            *("--source", f"http://127.0.0.1:{live}/"),
            *("--mqtt", f"mqtt://127.0.0.1:{broker.port}"),
        )
        wait_for(lambda: listener.under("/availability")[-1:] == ["online"], "the client")
        finish(client, signal.SIGKILL)
        wait_for(lambda: listener.under("/availability")[-1:] == ["offline"], "the last will")


def test_a_source_is_offline_while_the_service_is_away(broker: Broker, listener: Listener) -> None:
    service = Service()
    with camera() as live:
        with service.serving() as port:
            client = start(
                *("--url", f"http://127.0.0.1:{port}", "--no-window"),
                *("--source", f"http://127.0.0.1:{live}/"),
                *("--mqtt", f"mqtt://127.0.0.1:{broker.port}"),
            )
            wait_for(lambda: listener.under("/availability")[-1:] == ["online"], "the service")
        wait_for(lambda: listener.under("/availability")[-1:] == ["offline"], "its absence")
        with service.serving(port):
            wait_for(lambda: listener.under("/availability")[-1:] == ["online"], "its return")
            assert interrupt(client).returncode == 0


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("http://broker", "is not the address of a broker"),
        ("mqtt://", "is not the address of a broker"),
        ("mqtt://broker:0", "is not the address of a broker"),
        ("mqtt://broker:99999", "is not the address of a broker"),
        ("mqtt://user:s3cr3t@broker?x=1", "is not the address of a broker"),
        ("mqtt://user:s3/cr3t@broker", "is not encoded"),
        ("mqtt://user:s@3/cr3t@broker", "is not encoded"),
        ("mqtt://:s3cr3t@broker", "needs a user"),
        ("mqtt://broker/a/%23", "the topic prefix in mqtt://broker/a/… holds"),
        ("mqtt://broker/$SYS", "the topic prefix in mqtt://broker/$SYS holds"),
        ("mqtt://broker/" + 300 * "a", "longer than 200"),
    ],
)
def test_a_wrong_address_is_refused_without_its_password(
    address: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        arguments.parse(["--mqtt", address])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert why in said
    assert "s3cr3t" not in said
    assert "cr3t" not in said


def test_a_ca_file_that_is_none_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "ca.pem"
    for arguments_, why in (
        (["--mqtt", "mqtts://b", "--mqtt-ca", str(file)], "No such file"),
        (["--mqtt", "mqtt://b", "--mqtt-ca", str(file)], "write mqtts://"),
        (["--mqtt-ca", str(file)], "needs --mqtt"),
    ):
        with pytest.raises(SystemExit):
            arguments.parse(arguments_)
        assert why in capsys.readouterr().err
    file.write_text("no certificate")
    with pytest.raises(SystemExit):
        arguments.parse(["--mqtt", "mqtts://b", "--mqtt-ca", str(file)])
    assert f"the CA file {file} cannot be read" in capsys.readouterr().err


def test_an_address_has_defaults() -> None:
    plain, safe = address_of("mqtt://me@broker", "pw"), address_of("mqtts://[::1]:1/a/b/")
    assert (plain.host, plain.port, plain.prefix) == ("broker", 1883, "facemask")
    assert (plain.user, plain.password, plain.tls) == ("me", "pw", None)
    assert (safe.host, safe.port, safe.prefix, safe.place) == ("::1", 1, "a/b", "mqtts://[::1]:1")
    assert "pw" not in repr(plain)
