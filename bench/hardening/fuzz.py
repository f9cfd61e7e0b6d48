"""Send damaged pictures, forms, JSON, queries, headers and streams to the real service.

The inputs are mutations of real pictures and requests; each is determined by the seed and its
number. A coverage-guided fuzzer (atheris) is not used: the decoders are C code without
instrumentation, and a crash would end the fuzzer, which runs in the same process.
"""

from __future__ import annotations

import argparse
import itertools
import json
import socket
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPResponse
from io import BufferedReader
from pathlib import Path
from urllib.parse import urlsplit

from rich.progress import Progress
from websockets.client import ClientProtocol
from websockets.exceptions import ProtocolError
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from bench.hardening.answers import Answer, Fault, check, check_message
from bench.hardening.inputs import Input, make
from bench.hardening.rows import Row, finish
from bench.servers import ROOT, running

INPUTS = 100_000
CLIENTS = 4
TIMEOUT_S = 120  # no answer for this long counts as a hang
PATIENCE_S = 0.2  # wait for an answer in a stream; there is none to an incomplete message
SEED = 1
FAILED = ROOT / "runs" / "fuzz"
CLOSES = {None, 1000, 1001, 1002, 1003, 1007, 1008, 1009}


class Hang(Exception):
    """The service did not answer."""


@dataclass
class Found:
    """The results of all inputs: answers by status, and faults and hangs by input number."""

    inputs: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    messages: Counter[str] = field(default_factory=Counter)
    faults: dict[int, str] = field(default_factory=dict)
    hangs: dict[int, str] = field(default_factory=dict)
    crashes: int = 0
    unforeseen: int = 0


class Client:
    """Sends inputs one after another, reusing the connection where possible."""

    def __init__(self, url: str, found: Found) -> None:
        self._url = url
        address = urlsplit(url)
        self._address = (str(address.hostname), int(address.port or 0))
        self._found = found
        self._connection: socket.socket | None = None

    def send(self, data: Input) -> None:
        """Send an input and check all answers; raises Fault or Hang."""
        reused = self._connection is not None
        try:
            self._exchange(data)
        except TimeoutError as error:
            self.close()
            raise Hang(f"no answer in {TIMEOUT_S} s") from error
        except (ConnectionError, HTTPException) as error:
            self.close()
            if data.framed and reused:  # may have been closed before this was sent
                self.send(data)
            elif data.framed:
                raise Fault(f"no answer: {error!r}") from error
        except Exception:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _exchange(self, data: Input) -> None:
        if not data.framed:
            self.close()
        connection = self._connection
        if connection is None:
            connection = socket.create_connection(self._address, timeout=TIMEOUT_S)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connection = connection
        connection.sendall(data.data)
        if data.framed:
            response = HTTPResponse(connection, method=data.method)
            response.begin()
            if not self._take(response, data):
                self.close()
            return
        if not data.after:
            connection.shutdown(socket.SHUT_WR)
        # The server may take the bytes for several requests, and sends an answer to each.
        file = connection.makefile("rb")
        while file.peek(1):
            response = HTTPResponse(Borrowed(file), method=data.method)  # type: ignore[arg-type]
            response.begin()
            if response.status == 101:
                self._converse(connection, data.after, file)
                break
            if not self._take(response, data) or data.after:
                break
        self.close()

    def _take(self, response: HTTPResponse, data: Input) -> bool:
        headers = {name.lower(): value for name, value in response.getheaders()}
        answer = Answer(response.status, headers, response.read())
        self._found.statuses[str(answer.status)] += 1
        check(answer, data)
        return not response.will_close

    def _converse(self, connection: socket.socket, sent: bytes, file: BufferedReader) -> None:
        """Send frames, end the sending side, and read messages until the server closes."""
        protocol = ClientProtocol(parse_uri(self._url.replace("http", "ws", 1)), max_size=None)
        protocol.state = State.OPEN
        protocol.parser = protocol.parse()
        next(protocol.parser)
        heard = threading.Event()
        end = threading.Thread(target=push, args=(connection, sent, heard))
        end.start()
        code = None
        try:
            while data := file.read1(65536):
                heard.set()
                protocol.receive_data(data)
                for event in protocol.events_received():
                    if isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                        self._found.messages[check_message(bytes(event.data))] += 1
                    elif isinstance(event, Frame) and event.opcode is Opcode.CLOSE:
                        code = int.from_bytes(event.data[:2], "big") or None
                if isinstance(protocol.parser_exc, ProtocolError):
                    raise Fault(f"a broken frame: {protocol.parser_exc}")
        finally:
            heard.set()
            end.join()
        if code not in CLOSES:
            raise Fault(f"closed with {code}")
        self._found.messages[f"closed {code}"] += 1


class Borrowed:
    """Gives HTTPResponse a file that stays open, because more answers may follow."""

    def __init__(self, file: BufferedReader) -> None:
        self._file = file

    def makefile(self, _: str) -> Borrowed:
        """Return itself."""
        return self

    def close(self) -> None:
        """Leave the file open."""

    def __getattr__(self, name: str) -> object:
        return getattr(self._file, name)


def push(connection: socket.socket, data: bytes, heard: threading.Event) -> None:
    """Send all data, then end the sending side, which would cancel unanswered requests.

    Therefore it first waits until something is heard, or for PATIENCE_S.
    """
    try:
        connection.sendall(data)
        heard.wait(PATIENCE_S)
        connection.shutdown(socket.SHUT_WR)
    except OSError:  # the server may have closed already
        pass


def run(inputs: int = INPUTS, seed: int = SEED, first: int = 0, folder: Path = FAILED) -> Found:
    """Start a service and send it inputs; those that fail are written to a folder."""
    found = Found()
    numbers = itertools.count(first)
    lock, stop = threading.Lock(), threading.Event()
    with (
        running(LOG_LEVEL="warning") as server,
        Progress(disable=not sys.stderr.isatty()) as bar,
    ):
        worker = server.worker()
        task = bar.add_task("Inputs", total=inputs)

        def work() -> None:
            client = Client(server.url, found)
            while not stop.is_set():
                with lock:
                    number = next(numbers)
                if number >= first + inputs:
                    break
                data = make(seed, number)
                complaint = ""
                try:
                    client.send(data)
                except Hang as error:
                    complaint = found.hangs[number] = str(error)
                except Exception as error:  # noqa: BLE001 (any deviation from the schemas)
                    complaint = found.faults[number] = f"{type(error).__name__}: {error}"[:500]
                if complaint:
                    keep(folder, seed, number, data, complaint)
                with lock:
                    found.inputs += 1
                bar.advance(task)
            client.close()

        with ThreadPoolExecutor(CLIENTS) as pool:
            futures = [pool.submit(work) for _ in range(CLIENTS)]
            try:
                for future in futures:
                    future.result()
            except KeyboardInterrupt:
                stop.set()
        found.crashes = int(server.worker() != worker)
    found.crashes += server.said().count("was sent SIG")
    found.unforeseen = sum(
        "Unexpected error" in line or "Traceback" in line for line in server.said().splitlines()
    )
    return found


def keep(folder: Path, seed: int, number: int, data: Input, complaint: str) -> None:
    """Write an input that failed, and the reason."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{seed}-{number}"
    (folder / f"{name}.bin").write_bytes(data.data + data.after)
    (folder / f"{name}.txt").write_text(
        f"{complaint}\nAgain: --seed {seed} --first {number} --inputs 1\n"
    )


def rows(found: Found) -> list[Row]:
    """Return the results as rows of a table."""
    test = f"fuzzing, {found.inputs:,} inputs"
    answers = ", ".join(f"{n} of {status}" for status, n in sorted(found.statuses.items()))
    messages = ", ".join(f"{n} of {kind}" for kind, n in sorted(found.messages.items()))
    return [
        Row(test, "0 worker crashes", str(found.crashes), not found.crashes),
        Row(test, f"0 hangs (over {TIMEOUT_S} s)", str(len(found.hangs)), not found.hangs),
        Row(test, "0 unforeseen errors in the log", str(found.unforeseen), not found.unforeseen),
        Row(
            test,
            "0 answers with status 500 or outside the schemas",
            f"{len(found.faults)} (answers: {answers}; in streams: {messages})",
            not found.faults,
        ),
    ]


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.hardening.fuzz",
        description=__doc__,
        epilog="Example, repeat one input: python -m bench.hardening.fuzz --first 4711 --inputs 1",
    )
    parser.add_argument("--inputs", type=int, default=INPUTS, help="number of inputs (%(default)s)")
    parser.add_argument("--seed", type=int, default=SEED, help="random seed (%(default)s)")
    parser.add_argument("--first", type=int, default=0, help="number of the first (%(default)s)")
    parser.add_argument("--output", type=Path, help="write the rows to this JSON file")
    args = parser.parse_args()
    found = run(args.inputs, args.seed, args.first)
    for number, complaint in sorted((found.faults | found.hangs).items())[:20]:
        print(f"Input {number}: {complaint}")
    if found.faults or found.hangs:
        print(f"Failed inputs are in {FAILED}.")
    if args.output:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        details = args.output.with_suffix(".details.json")
        details.write_text(json.dumps(vars(found), indent=1) + "\n")
    sys.exit(finish(rows(found), args.output))


if __name__ == "__main__":
    main()
