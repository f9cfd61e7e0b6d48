"""Publish how many people wear a mask to an MQTT broker, as a device that Home Assistant finds."""

from __future__ import annotations

import hashlib
import json
import re
import ssl
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from paho.mqtt.client import Client, MQTTMessageInfo, error_string
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from client import backoff, shown, web

PORTS = {"mqtt": 1883, "mqtts": 8883}
PREFIX = "facemask"
LONGEST_PREFIX = 200
KEEPALIVE_S = 30
PUBLISH_S = 0.25  # at most four states a second
TICK_S = 0.1
FLUSH_S = 5.0

State = Mapping[str, object]

# Kind and key of each entity, and what Home Assistant shows it as.
ENTITIES: tuple[tuple[str, str, dict[str, str]], ...] = (
    (
        "binary_sensor",
        "no_mask_confirmed",
        {
            "name": "Somebody without a mask",
            "device_class": "problem",
            "value_template": "{{ 'ON' if value_json.no_mask_confirmed else 'OFF' }}",
        },
    ),
    ("sensor", "mask", {"name": "With a mask", "icon": "mdi:face-mask"}),
    ("sensor", "no_mask", {"name": "Without a mask", "icon": "mdi:face-mask-outline"}),
    ("sensor", "uncertain", {"name": "Uncertain", "icon": "mdi:help"}),
    ("sensor", "compliance", {"name": "Compliance", "unit_of_measurement": "%"}),
)


@dataclass(frozen=True)
class Broker:
    """An MQTT broker. prefix: what its topics begin with. tls: None without encryption."""

    host: str
    port: int
    prefix: str = PREFIX
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)

    @property
    def place(self) -> str:
        """The address as it may be shown."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return shown.address(f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}")


def broker(address: str, password: str | None = None, ca: str | None = None) -> Broker:
    """Read mqtt://[user[:password]@]host[:port][/topic-prefix]; mqtts:// is encrypted.

    password: used if the address has none. ca: a file of certificates to trust instead of the
    system's. Raises ValueError, whose message repeats no secret.
    """
    place = shown.address(address)
    try:
        parts = urlsplit(address)
        port = parts.port
        (parts.hostname or "").encode("idna")
    except ValueError:
        parts, port = urlsplit(""), None
    scheme = parts.scheme.lower()
    if "@" in address.removeprefix(f"{parts.scheme}://{parts.netloc}"):
        raise ValueError(
            f"the user or password in {place} is not encoded: write / as %2F, ? as %3F, # as %23 "
            "and @ as %40"
        )
    if scheme not in PORTS or not parts.hostname or port == 0 or parts.query or parts.fragment:
        raise ValueError(
            f"{place} is not the address of a broker, such as mqtt://user@broker.local:1883/facemask"
        )
    prefix = unquote(parts.path).strip("/") or PREFIX
    if not re.fullmatch(r"[^+#$\x00-\x1f\x7f][^+#\x00-\x1f\x7f]*", prefix):
        raise ValueError(f"the topic prefix in {place} holds +, #, a control or a leading $")
    if len(prefix) > LONGEST_PREFIX:
        raise ValueError(f"the topic prefix is longer than {LONGEST_PREFIX} characters")
    user = unquote(parts.username) if parts.username else None
    password = unquote(parts.password) if parts.password else password
    if password and not user:
        raise ValueError(f"the password for {place} needs a user: write mqtt://user@broker")
    if ca and scheme != "mqtts":
        raise ValueError(f"{place} is not encrypted and needs no CA file: write mqtts://")
    try:
        tls = ssl.create_default_context(cafile=ca) if scheme == "mqtts" else None
    except OSError as error:
        raise ValueError(f"the CA file {ca} cannot be read: {web.reason(error)}") from error
    if tls:
        tls.sslsocket_class = Tidy
    return Broker(parts.hostname, port or PORTS[scheme], prefix, user, password or None, tls)


class Tidy(ssl.SSLSocket):
    """A socket that closes itself if the handshake fails; the library leaves it open."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 (as inherited)
        """Shake hands; raises OSError."""
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise


class Mqtt:
    """A thread that keeps the state of one source on a broker.

    Each source has its own connection, so that the broker's last will reports each one offline.
    put() only remembers the newest state, which is published on every new connection and, at most
    four times a second, when it changes. A broker that is away holds nothing up.
    """

    def __init__(self, broker: Broker, source: str, note: Callable[[str], None]) -> None:
        self._broker, self._source, self._note = broker, source, note
        named = f"{broker.prefix}\n{source}".encode("utf-8", "backslashreplace")
        slug = re.sub(r"[^a-z0-9]+", "_", source.lower())[:40].strip("_")
        self._id = f"{slug}_{hashlib.sha256(named).hexdigest()[:8]}"
        self._topic = f"{broker.prefix}/{self._id}"
        self._state: State | None = None
        self._away = False
        self._ended = False  # after all was published
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def put(self, state: State | None) -> None:
        """Remember the state to publish, None while the source has none; returns at once."""
        self._state = state

    def close(self) -> None:
        """Publish the last state and that the source is offline, within FLUSH_S seconds."""
        self._stop.set()
        self._thread.join(FLUSH_S)
        if not (self._ended or self._away):
            self._note(
                f"{self._source}: the MQTT broker {self._broker.place} did not confirm the last "
                "state."
            )

    def _work(self) -> None:
        waits = backoff.delays()
        while True:
            try:
                why = self._talk()
            except Exception as error:  # noqa: BLE001 (what a bad broker makes the library raise)
                why = reason(error)
            if self._stop.is_set():
                return
            if not self._away:
                waits = backoff.delays()
                self._note(
                    f"{self._source}: the MQTT broker {self._broker.place} does not take messages "
                    f"({why}); trying again."
                )
            self._away = True
            self._stop.wait(next(waits))

    def _talk(self) -> str:
        """Connect and publish until told to stop; returns why the connection ended."""
        refusals: list[str] = []
        client = self._client()
        client.on_connect = lambda _client, _data, _flags, code, _properties: (
            refusals.append(str(code)) if code.is_failure else None
        )
        client.connect(self._broker.host, self._broker.port, KEEPALIVE_S)
        told: list[MQTTMessageInfo] = []
        published: list[State | None] = []  # empty until the first is
        due = 0.0
        while (code := client.loop(TICK_S)) == MQTTErrorCode.MQTT_ERR_SUCCESS:
            if not client.is_connected():
                continue
            if not published:
                told = told or self._introduce(client)
            state, ending = self._state, self._stop.is_set()
            if not all(message.is_published() for message in told):
                continue  # one state at a time: nothing piles up while the broker is slow
            if self._away and published:
                self._away = False
                self._note(f"{self._source}: the MQTT broker takes messages again.")
            if published != [state]:
                if time.monotonic() < due and not ending:
                    continue
                due = time.monotonic() + PUBLISH_S
                turned = not published or (published == [None]) != (state is None)
                told, published = self._publish(client, state, turned=turned), [state]
            elif ending and state is None:
                self._ended = True
                client.disconnect()
            elif ending:
                self._state = None
        return refusals[0] if refusals else error_string(code).rstrip(".")

    def _client(self) -> Client:
        """Make a client; a new one for each connection, so that it sends nothing old again."""
        broker = self._broker
        client = Client(CallbackAPIVersion.VERSION2, f"facemask-{uuid.uuid4().hex[:12]}")
        client.username_pw_set(broker.user, broker.password)
        if broker.tls:
            client.tls_set_context(broker.tls)
        client.will_set(f"{self._topic}/availability", "offline", qos=1, retain=True)
        return client

    def _introduce(self, client: Client) -> list[MQTTMessageInfo]:
        """Publish what Home Assistant needs to show the source as a device."""
        return [
            publish(
                client,
                f"homeassistant/{kind}/facemask_{self._id}/{key}/config",
                self._entity(key, look),
            )
            for kind, key, look in ENTITIES
        ]

    def _entity(self, key: str, look: dict[str, str]) -> dict[str, Any]:
        unique = f"facemask_{self._id}"
        counted = {"value_template": f"{{{{ value_json.{key} }}}}", "state_class": "measurement"}
        return {
            **({} if "value_template" in look else counted),
            **look,
            "unique_id": f"{unique}_{key}",
            "state_topic": f"{self._topic}/state",
            "availability_topic": f"{self._topic}/availability",
            "device": {"identifiers": [unique], "name": self._source, "model": "facemask client"},
            "origin": {"name": "facemask"},
        }

    def _publish(
        self, client: Client, state: State | None, *, turned: bool
    ) -> list[MQTTMessageInfo]:
        """Publish a state and, if it turned to or from None, the availability."""
        availability = "offline" if state is None else "online"
        told = [] if state is None else [publish(client, f"{self._topic}/state", dict(state))]
        if turned:
            told.append(publish(client, f"{self._topic}/availability", availability))
        return told


def publish(client: Client, topic: str, content: object) -> MQTTMessageInfo:
    """Publish a retained message: text as it is, all else as JSON."""
    text = content if isinstance(content, str) else json.dumps(content)
    return client.publish(topic, text, qos=1, retain=True)


def reason(error: BaseException) -> str:
    """Say why there is no connection."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    return web.reason(error)
