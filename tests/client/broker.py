"""A real MQTT broker for the client's tests: mosquitto, with or without a password and TLS."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from bench.servers import free_port
from tests.client.stand_in import wait_for

MOSQUITTO = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin")
USER, PASSWORD = "camera", "s3cr3t/?#@"


class Broker:
    """A mosquitto that can be killed and started again on its port; it stores nothing."""

    def __init__(self, folder: Path, *, password: bool = False, tls: bool = False) -> None:
        if MOSQUITTO is None:
            pytest.skip("needs mosquitto: apt-get install mosquitto")
        self.port, self.ca = free_port(), folder / "ca.pem"
        lines = [f"listener {self.port} 127.0.0.1", f"allow_anonymous {str(not password).lower()}"]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            lines.append("user root")
        if password:
            file = folder / "passwords"
            command = ["mosquitto_passwd", "-b", "-c", str(file), USER, PASSWORD]
            subprocess.run(command, check=True)
            lines.append(f"password_file {file}")
        if tls:
            certificate, key = certified(folder, self.ca)
            lines += [f"certfile {certificate}", f"keyfile {key}"]
        self._config = folder / "mosquitto.conf"
        self._config.write_text("\n".join(lines) + "\n")
        self._process: subprocess.Popen | None = None

    @contextmanager
    def running(self) -> Iterator[Broker]:
        """Run it until the end of the with block."""
        self.start()
        try:
            yield self
        finally:
            self.kill()

    def start(self) -> None:
        """Start it; clients connect once it listens."""
        self._process = subprocess.Popen(
            [MOSQUITTO, "-c", str(self._config)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def kill(self) -> None:
        """Kill it, as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class Listener:
    """Hears everything that a broker is sent, in order, as (topic, payload); goes on for ever."""

    def __init__(self, broker: Broker, *, password: bool = False, tls: bool = False) -> None:
        self.heard: list[tuple[str, str]] = []
        self._ready = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2)
        if password:
            self._client.username_pw_set(USER, PASSWORD)
        if tls:
            self._client.tls_set(str(broker.ca))
        self._client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = lambda _client, _data, message: self.heard.append(
            (message.topic, message.payload.decode())
        )
        self._client.reconnect_delay_set(1, 1)
        self._client.connect_async("127.0.0.1", broker.port)

    @contextmanager
    def listening(self) -> Iterator[Listener]:
        """Listen until the end of the with block."""
        self._client.loop_start()
        try:
            wait_for(self._ready.is_set, "the broker")
            yield self
        finally:
            self._client.disconnect()
            self._client.loop_stop()

    def forget(self) -> None:
        """Drop what was heard so far."""
        self.heard.clear()

    def under(self, ending: str) -> list[str]:
        """Return the payloads of the topics that end so."""
        return [payload for topic, payload in list(self.heard) if topic.endswith(ending)]

    def states(self) -> list[dict]:
        """Return the states heard."""
        return [json.loads(payload) for payload in self.under("/state")]


def certified(folder: Path, ca: Path) -> tuple[Path, Path]:
    """Make a certificate authority, and by it a certificate of 127.0.0.1 and its key."""

    def named(name: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])

    now = datetime.now(UTC)

    def signed(name: str, key: ec.EllipticCurvePrivateKey, extension: object) -> x509.Certificate:
        return (
            x509.CertificateBuilder()
            .subject_name(named(name))
            .issuer_name(named("authority"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
            .sign(authority, hashes.SHA256())
        )

    authority, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    local = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
    pem = serialization.Encoding.PEM
    root = signed("authority", authority, x509.BasicConstraints(ca=True, path_length=0))
    ca.write_bytes(root.public_bytes(pem))
    files = folder / "broker.pem", folder / "broker.key"
    files[0].write_bytes(signed("broker", key, local).public_bytes(pem))
    files[1].write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files
