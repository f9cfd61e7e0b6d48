"""Each call of `up` and `down` fails once: the message is clear, and the next run completes."""

import time
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ConnectionClosedError
from moto.core.botocore_stubber import BotocoreStubber
from moto.core.models import botocore_stubber

from tests.deploy.conftest import CREDENTIALS, Cloud, Done

Command = Callable[..., Done]
# How the services encode an error, by protocol.
ERROR = "<Error><Code>{code}</Code><Message>{words}</Message></Error>"
QUERY = f"<ErrorResponse>{ERROR}</ErrorResponse>"
EC2 = f"<Response><Errors>{ERROR}</Errors></Response>"
JSON = '{{"__type": "{code}", "message": "{words}"}}'
BODIES = {
    "cloudformation": QUERY,
    "ec2": EC2,
    "iam": QUERY,
    "elastic-load-balancing-v2": QUERY,
    "sts": QUERY,
}


ANSWER = BotocoreStubber.__call__


class Fault:
    """Answers calls in place of AWS, as AWS or a bad network would.

    times: how often each operation fails, by name; `default` for the others.
    """

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.words = ""
        self.calm()

        self.depth = 0

    def calm(self) -> None:
        self.kind, self.default, self.times = "", 0, dict[str, int]()

    def arm(self, kind: str, times: dict[str, int] | None = None, default: int = 0) -> None:
        self.kind, self.times, self.default = kind, times or {}, default

    def __call__(self, event_name: str, request: AWSPreparedRequest, **_: object) -> Any:
        if self.depth:  # calls made by the stand-in for CloudFormation
            return ANSWER(botocore_stubber, event_name, request)
        service, operation = event_name.split(".")[1:]
        name = f"{service}.{operation}"
        if name not in self.seen:
            self.seen.append(name)
        left = self.times.get(name, self.default)
        if not left:
            return self.answer(event_name, request)
        self.times[name] = left - 1
        if self.kind == "cut after":
            self.answer(event_name, request)
        if self.kind.startswith("cut"):
            raise ConnectionClosedError(endpoint_url=request.url)
        if self.kind == "page":
            return AWSResponse(request.url, 200, {}, Raw(b"<html><p>Please log in</html>"))
        body = BODIES.get(service, JSON).format(
            code=self.kind, words=self.words or f"{self.kind} of the test"
        )
        return AWSResponse(request.url, 400, {}, Raw(body.encode()))

    def answer(self, event_name: str, request: AWSPreparedRequest) -> Any:
        self.depth += 1
        try:
            return ANSWER(botocore_stubber, event_name, request)
        finally:
            self.depth -= 1


class Raw(BytesIO):
    """A response body like urllib3's."""

    def stream(self, **_: object) -> Iterator[bytes]:
        yield self.read()


@pytest.fixture
def fault(monkeypatch: pytest.MonkeyPatch) -> Fault:
    """Intercept calls before moto; skip botocore's waits between tries."""
    made = Fault()
    monkeypatch.setattr(BotocoreStubber, "__call__", lambda _, *args, **kw: made(*args, **kw))
    monkeypatch.setattr("botocore.endpoint.time", NoSleep)
    return made


class NoSleep:
    """A time module whose sleep() returns at once."""

    monotonic = staticmethod(time.monotonic)
    time = staticmethod(time.time)  # below, the name is this class's attribute

    @staticmethod
    def sleep(_: float) -> None:
        pass


UP = ("up", "--yes", "--image", "v1")
DOWN = ("down", "--yes")
TRIES = 8  # botocore's tries for one call
KINDS = {
    "AccessDeniedException": (1, "AWS does not allow {name}: AccessDeniedException of the test"),
    "ThrottlingException": (TRIES, "AWS limits the rate of calls ({name}: ThrottlingException)"),
    "cut after": (
        TRIES,
        "",
    ),  # the call succeeds but the answer is lost: a repeated try may say "exists already"
}


def with_image(cloud: Cloud, command: Command) -> Done:
    """Run `up`, and put the image into the repository as soon as it exists."""
    done = command(*UP)
    if "no image v1" in done.err:
        cloud.put_image("v1")
        done = command(*UP)
    return done


@pytest.fixture
def operations(cloud: Cloud, command: Command, fault: Fault) -> dict[tuple[str, ...], list[str]]:
    """Return the operations of an undisturbed run, in order; nothing is left afterwards."""
    assert with_image(cloud, command).code == 0
    assert command(*UP).code == 0
    up, fault.seen = fault.seen, []
    assert command(*DOWN).code == 0
    return {UP: [name for name in up if name != "ecr.PutImage"], DOWN: fault.seen}


@pytest.mark.parametrize("kind", KINDS)
def test_each_call_may_fail_and_the_next_run_goes_on(
    cloud: Cloud,
    command: Command,
    fault: Fault,
    operations: dict[tuple[str, ...], list[str]],
    kind: str,
) -> None:
    times, words = KINDS[kind]
    assert len(operations[UP]) > 15
    assert len(operations[DOWN]) > 5
    for verb, calls in operations.items():
        for operation in calls:
            fault.arm(kind, {operation: times})
            done = with_image(cloud, command) if verb == UP else command(*verb)
            assert "Traceback" not in done.err
            assert CREDENTIALS["AWS_SECRET_ACCESS_KEY"] not in done.err
            if done.code:
                assert words.format(name=operation.split(".")[1]) in done.err, operation
                assert "run the same command again" in done.err
            else:  # an earlier run has already done this part
                assert fault.times[operation] == times, operation
        fault.calm()
        assert command(*verb).code == 0
        assert command(*verb).changes == []


@pytest.mark.usefixtures("cloud")
def test_expired_credentials_are_reported(command: Command, fault: Fault) -> None:
    fault.arm("ExpiredTokenException", default=1)
    done = command(*UP)
    assert done.code == 1
    assert "AWS does not accept the credentials (ExpiredTokenException): log in again" in done.err
    fault.arm("cut before", default=TRIES)
    assert "AWS could not be reached, or the connection broke" in command(*UP).err


@pytest.mark.parametrize("kind", ["ThrottlingException", "cut before"])
def test_what_passes_by_itself_is_not_even_noticed(
    cloud: Cloud, command: Command, fault: Fault, kind: str
) -> None:
    fault.arm(kind, default=1)
    assert with_image(cloud, command).code == 0
    assert len(fault.times) > 15
    fault.arm(kind, default=1)
    assert command(*DOWN).code == 0


@pytest.mark.usefixtures("cloud")
def test_a_page_instead_of_an_answer_is_reported(command: Command, fault: Fault) -> None:
    """A proxy on the way may answer instead."""
    fault.arm("page", default=TRIES)
    done = command(*UP)
    assert done.code == 1
    assert "probably from a proxy in between" in done.err
    assert "Traceback" not in done.err


@pytest.mark.usefixtures("cloud")
def test_a_bad_profile_and_missing_credentials_are_reported(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "absent")
    assert "absent" in command("plan").err
    monkeypatch.delenv("AWS_PROFILE")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    done = command("plan")
    assert done.code == 1
    assert "No AWS credentials were found" in done.err
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    assert "No region is set" in command("plan").err
