"""Draws what is fetched, built and started: one live view on a terminal, few plain lines elsewhere."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TextIO

from contracts.errors import LabError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from placements.local.artifacts.progress import Progress
    from placements.local.supervisor import ServiceStatus

_PLAIN_EVERY_S = 10.0
_WATCH_AGAIN_S = 0.2
_ON_THEIR_WAY = ("waiting", "starting", "backoff", "stopping")


@dataclass(kw_only=True)
class _Item:
    total_bytes: int | None = None
    done_bytes: int = 0
    began: float = 0.0


def human_bytes(count: float) -> str:
    """``12.3 MB``; decimal units, as download sites give them."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError("unreachable")


def human_seconds(seconds: float) -> str:
    """``45 s``, ``3:05 min`` or ``1:02 h``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02} h"


class PlainProgress:
    """Lines without cursor movement: at the start, every ten seconds and at the end of each artifact."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._items: dict[str, _Item] = {}
        self._last: dict[str, float] = {}
        self._step_kind: dict[str, str] = {}
        self._lock = threading.Lock()

    def start(self, name: str, total_bytes: int | None) -> None:
        with self._lock:
            self._items[name] = _Item(total_bytes=total_bytes, began=time.monotonic())
            self._last[name] = time.monotonic()
            size = f" {human_bytes(total_bytes)}" if total_bytes else ""
            self._say(f"  {name}: fetching{size}")

    def advance(self, name: str, count_bytes: int) -> None:
        with self._lock:
            item = self._items.setdefault(name, _Item(began=time.monotonic()))
            item.done_bytes += count_bytes
            now = time.monotonic()
            if now - self._last.get(name, 0.0) >= _PLAIN_EVERY_S:
                self._last[name] = now
                self._say(f"  {name}: {describe(item, now)}")

    def step(self, name: str, text: str) -> None:
        with self._lock:
            now = time.monotonic()
            # A build tells of every package it compiles; other steps are few and all worth a line.
            kind = re.sub(r"\d+", "#", text)
            if self._step_kind.get(name) == kind and now - self._last.get(name, 0.0) < _PLAIN_EVERY_S:
                return
            self._step_kind[name], self._last[name] = kind, now
            self._say(f"  {name}: {text}")

    def done(self, name: str, seconds: float) -> None:
        with self._lock:
            if seconds >= 0.1:
                self._say(f"  {name}: ready after {human_seconds(seconds)}")

    def failed(self, name: str, error: BaseException) -> None:
        with self._lock:
            self._say(
                f"  {name}: failed: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
            )

    def _say(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


def describe(item: _Item, now: float) -> str:
    """``12.0 MB of 40.0 MB, 30 s left``."""
    text = human_bytes(item.done_bytes)
    if item.total_bytes and item.done_bytes:
        rate = item.done_bytes / max(now - item.began, 0.001)
        left_s = max(0.0, item.total_bytes - item.done_bytes) / rate
        text += f" of {human_bytes(item.total_bytes)}, {human_seconds(left_s)} left"
    return text


class Waiting:
    """The services that are on their way, and since when."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}
        self._last: dict[str, ServiceStatus] = {}

    def __bool__(self) -> bool:
        return bool(self._since)

    def note(self, status: ServiceStatus, now: float) -> str | None:
        """Takes a service's new state. Returns the line that it is worth: it is ready, or it died."""
        name, before = status.name, self._last.get(status.name)
        self._last[name] = status
        if status.state not in _ON_THEIR_WAY:
            began = self._since.pop(name, None)
            if status.state == "failed":
                return f"  {name} failed: {status.reason}"
            if status.state == "ready" and began is not None:
                return f"  {name} ready after {human_seconds(now - began)}"
            return None
        self._since.setdefault(name, now)
        if status.state == "backoff" and (before is None or before.restarts != status.restarts):
            return f"  {name} is started again: {status.reason}"
        return None

    def rows(self, now: float) -> list[tuple[str, str, float, str]]:
        """Name, state, seconds since it was wanted, and why it waits."""
        found = []
        # Drawn by a thread of its own, while changes come in.
        for name, since in list(self._since.items()):
            status = self._last[name]
            waits = f"waits for {', '.join(status.waiting_for)}" if status.waiting_for else ""
            found.append((name, str(status.state), now - since, waits or status.reason or ""))
        return found


class LiveView:
    """One view of all that is at work: a bar for each artifact (bytes, what is being done, time left) and
    a line for each service that is not ready (since when, and why). What is done leaves it with a line that
    stays. A context that clears the terminal's lines when it ends."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        self._console = Console(file=stream)
        self._bars = Bars(
            TextColumn("  {task.fields[artifact]:14}"),
            BarColumn(bar_width=24),
            DownloadColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.description}", markup=False),
            console=self._console,
        )
        self._tasks: dict[str, Any] = {}
        self._services = Waiting()
        self._lock = threading.RLock()
        self._started = False
        self._live = Live(
            get_renderable=self._draw, console=self._console, transient=True, refresh_per_second=4
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def say(self, text: str) -> None:
        """A line that stays, above the view."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def stop(self) -> None:
        """Ends drawing; a later event begins anew."""
        with self._lock:
            if self._started:
                self._live.stop()
                self._started = False

    # Artifacts

    def start(self, name: str, total_bytes: int | None) -> None:
        self._bars.reset(self._task(name), total=total_bytes, description="fetching")

    def advance(self, name: str, count_bytes: int) -> None:
        self._bars.advance(self._task(name), count_bytes)

    def step(self, name: str, text: str) -> None:
        self._bars.update(self._task(name), description=text)

    def done(self, name: str, seconds: float) -> None:
        self._remove(name)
        if seconds >= 0.1:
            self.say(f"  {name} ready after {human_seconds(seconds)}")

    def failed(self, name: str, error: BaseException) -> None:
        self._remove(name)
        self.say(f"  {name} failed: {str(error).splitlines()[0] if str(error) else type(error).__name__}")

    # Services

    def service(self, status: ServiceStatus) -> None:
        """Takes a change of a service."""
        with self._lock:
            said = self._services.note(status, time.monotonic())
            self._show()
        if said is not None:
            self.say(said)

    def forget_services(self) -> None:
        """No service is looked at any more."""
        with self._lock:
            self._services = Waiting()
            self._show()

    def _show(self) -> None:
        """Draws while there is anything to draw."""
        busy = bool(self._tasks or self._services)
        if busy and not self._started:
            self._live.start()
        elif self._started and not busy:
            self._live.stop()
        self._started = busy

    def _draw(self) -> RenderableType:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        lines = Table.grid(padding=(0, 2))
        lines.add_column(width=14, no_wrap=True)
        lines.add_column(no_wrap=True)
        lines.add_column(no_wrap=True, justify="right")
        lines.add_column(no_wrap=True, overflow="ellipsis")
        for name, state, seconds, reason in self._services.rows(time.monotonic()):
            lines.add_row(Text(f"  {name}"), Text(state), Text(human_seconds(seconds)), Text(reason))
        return Group(*([self._bars] if self._tasks else []), *([lines] if self._services else []))

    def _task(self, name: str) -> Any:
        with self._lock:
            if name not in self._tasks:
                self._tasks[name] = self._bars.add_task("", total=None, artifact=name)
            self._show()
            return self._tasks[name]

    def _remove(self, name: str) -> None:
        with self._lock:
            task = self._tasks.pop(name, None)
            if task is not None:
                self._bars.remove_task(task)
            self._show()


class Drawing:
    """What a command says while it works, on standard error: lines, and bars where there is a terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._live: LiveView | None = None
        self._plain = PlainProgress(stream)

    @property
    def progress(self) -> Progress:
        """What draws the artifacts' events."""
        return self._view() or self._plain

    @contextlib.contextmanager
    def watching(self, changes: Callable[[], Iterable[ServiceStatus]]) -> Iterator[None]:
        """Shows services on their way as long as the context lasts.

        Args:
            changes: every service as it is now, then each change; it ends, or raises LabError, when there
                is no supervisor (any more), and is then called again.
        """
        ended, view = threading.Event(), self._view()
        waiting = Waiting()

        def take(status: ServiceStatus) -> None:
            if view is not None:
                view.service(status)
            elif (said := waiting.note(status, time.monotonic())) is not None:
                self.say(said)

        def watch() -> None:
            while not ended.wait(_WATCH_AGAIN_S):
                with contextlib.suppress(LabError, ValueError):
                    for status in changes():
                        if ended.is_set():
                            return
                        take(status)

        # It waits for the supervisor's next word, which need not come: nobody waits for its end.
        threading.Thread(target=watch, name="watch services", daemon=True).start()
        try:
            yield
        finally:
            ended.set()
            if view is not None:
                view.forget_services()

    def _view(self) -> LiveView | None:
        """The live view, where there is a terminal."""
        if self._live is None and self._stream.isatty():
            self._live = LiveView(self._stream)
        return self._live

    def say(self, text: str) -> None:
        """One line for the user."""
        if self._live is not None:
            self._live.say(text)
        else:
            print(text, file=self._stream, flush=True)

    def close(self) -> None:
        """Leaves the terminal as it was."""
        with contextlib.suppress(BrokenPipeError):
            if self._live is not None:
                self._live.stop()
