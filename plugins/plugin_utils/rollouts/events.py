# Copyright (c) 2026 baremetal.sonic authors
# SPDX-License-Identifier: Apache-2.0
"""Show a rollout: one line for each event, a heartbeat, and a table at the end."""

from __future__ import annotations

import contextlib
import getpass
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from .engine import rfc3339
from .state import SiteState, Store, write_json

HEARTBEAT_S = 60.0
T = TypeVar("T")


class Events:
    """Shows events on the terminal, and posts each once."""

    def __init__(
        self,
        folder: Path,
        release: str,
        show: Callable[[str], Any],
        post: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> None:
        self._folder = folder
        self._release = release
        self._show = show
        self._post = post
        self._lock = threading.Lock()
        self._by = f"{getpass.getuser()}@{socket.gethostname()}"

    def event(self, site: str, what: str, reason: str = "") -> None:
        """Show and post one event of a site, or of the rollout if the site is empty."""
        at = time.time()
        head = f"site {site}: " if site else "rollout: "
        line = f"{rfc3339(at)} {head}{what}" + (f": {reason}" if reason else "")
        with self._lock:
            self._show(line)
        if self._post:
            self._post(
                {
                    "release": self._release,
                    "site": site,
                    "event": what,
                    "reason": reason,
                    "at": rfc3339(at),
                    "by": self._by,
                }
            )

    @contextlib.contextmanager
    def heartbeat(self, store: Store, every: float = HEARTBEAT_S) -> Iterator[None]:
        """Show each minute what is under way."""
        ended = threading.Event()

        def beat() -> None:
            begun = time.monotonic()
            while not ended.wait(every):
                busy = [
                    f"{name} ({state.step})"
                    for name, state in list(store.sites.items())
                    if state.step
                ]
                with self._lock:
                    self._show(
                        f"after {time.monotonic() - begun:.0f} s: " + (", ".join(busy) or "waits")
                    )

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def side_by_side(
        self,
        names: Sequence[str],
        parallel: int,
        do: Callable[[str], T],
        stop: Callable[[], None],
        done: str = "planned",
    ) -> dict[str, T]:
        """Do something at all sites, some at the same time. done: what is shown after each."""

        def one(name: str) -> T:
            begun = time.monotonic()
            result = do(name)
            self._show(f"site {name}: {done} ({time.monotonic() - begun:.0f} s)")
            return result

        with ThreadPoolExecutor(parallel) as pool:
            try:
                return dict(zip(names, pool.map(one, names), strict=True))
            except BaseException:
                stop()
                raise

    def table(self, states: Mapping[str, SiteState], halted: str) -> list[str]:
        """Show the result of each site, and write rollout.json. Raises StateError."""
        rows = [("site", "wave", "result", "seconds", "reason", "log")]
        rows += [
            (name, str(state.wave), state.result or "not started", f"{state.seconds:.0f}",
             state.reason, state.log)
            for name, state in states.items()
        ]  # fmt: skip
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        lines = [
            "  ".join(
                [
                    *(cell.ljust(width) for cell, width in zip(row, widths, strict=False)),
                    *filter(None, row[4:]),
                ]
            )
            for row in rows
        ]
        with self._lock:
            for line in [*lines, *([f"halted: {halted}"] if halted else [])]:
                self._show(line)
        content = {
            "schema": 1,
            "release": self._release,
            "at": rfc3339(time.time()),
            "by": self._by,
            "halted": halted,
            "sites": {
                name: {
                    "wave": state.wave,
                    "result": state.result or "not started",
                    "reason": state.reason,
                    "seconds": state.seconds,
                    "started": state.started,
                    "ended": state.ended,
                    "log": state.log,
                    "steps": state.done,
                    "reports": state.reports,
                }
                for name, state in states.items()
            },
        }
        write_json(self._folder / "rollout.json", content)
        return lines
