"""Start Debian's Firefox for Playwright, which speaks WebDriver BiDi to it.

Playwright sends one command that Firefox ESR does not know. This program stands between the two and
answers that command itself. Run it in place of Firefox, with Firefox's arguments.
"""

import json
import re
import shutil
import signal
import subprocess
import sys
import threading
from functools import partial

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection, serve

FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")
UNKNOWN = "emulation.setMediaFeaturesOverride"
LISTENING = "WebDriver BiDi listening on "  # how Playwright learns the address


def relay(playwright: ServerConnection, address: str) -> None:
    """Pass messages in both directions until one side closes."""
    assert playwright.request is not None
    with connect(f"{address}{playwright.request.path}", max_size=None, compression=None) as firefox:

        def answer() -> None:
            try:
                for message in firefox:
                    playwright.send(message)
            except ConnectionClosed:
                pass
            playwright.close()

        threading.Thread(target=answer, daemon=True).start()
        for message in playwright:
            command = json.loads(message)
            if command["method"] == UNKNOWN:
                done = {"type": "success", "id": command["id"], "result": {}}
                playwright.send(json.dumps(done))
            else:
                firefox.send(message)


def listen(address: str) -> None:
    """Serve the relay to Firefox at an address, and tell Playwright where."""
    relayed = partial(relay, address=address)
    server = serve(relayed, "127.0.0.1", 0, max_size=None, compression=None)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = server.socket.getsockname()[1]
    print(f"{LISTENING}ws://127.0.0.1:{port}", file=sys.stderr, flush=True)


def main() -> int:
    """Run Firefox and the relay; return Firefox's exit code."""
    assert FIREFOX is not None
    firefox = subprocess.Popen([FIREFOX, *sys.argv[1:]], stderr=subprocess.PIPE, text=True)
    assert firefox.stderr is not None
    signal.signal(signal.SIGTERM, lambda *_: firefox.terminate())
    for line in firefox.stderr:
        if found := re.search(rf"{LISTENING}(ws://\S+)", line):
            listen(found[1])
    return firefox.wait()


if __name__ == "__main__":
    sys.exit(main())
