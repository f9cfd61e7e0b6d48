"""Write the events of all sources as lines of JSON, as a table and to the webhook."""

from __future__ import annotations

import csv
import json
import threading
from collections.abc import Iterable

from client import shown
from client.outputs import Lines
from client.tracks import COLUMNS, Event
from client.webhook import Webhook


class Events:
    """The outputs for events. Several sources may write at once; nothing is buffered."""

    def __init__(
        self,
        jsonl: Lines | None = None,
        table: Lines | None = None,
        webhook: Webhook | None = None,
    ) -> None:
        self._jsonl, self._webhook = jsonl, webhook
        self._rows = csv.DictWriter(table, COLUMNS) if table else None
        if self._rows:
            self._rows.writeheader()
        self._lock = threading.Lock()

    def write(self, events: Iterable[Event]) -> None:
        """Write events in their order; no_mask_confirmed events also go to the webhook."""
        with self._lock:
            for event in events:
                row = event.flat()
                if self._jsonl:
                    self._jsonl.write(json.dumps(row) + "\n")
                if self._rows:
                    self._rows.writerow({name: shown.cell(value) for name, value in row.items()})
                if self._webhook and event.event == "no_mask_confirmed":
                    self._webhook.put(event)
