"""Draws what is fetched and built: live bars on a terminal, few plain lines elsewhere."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TextIO

if TYPE_CHECKING:
    from placements.local.artifacts.progress import Progress

_PLAIN_EVERY_S = 10.0


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


class LiveProgress:
    """A bar for each artifact that is at work: bytes, what is being done, time left. A context that
    clears the terminal's lines when it ends."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        self._bars = Bars(
            TextColumn("  {task.fields[artifact]:14}"),
            BarColumn(bar_width=24),
            DownloadColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.description}"),
            console=Console(file=stream),
            transient=True,
        )
        self._tasks: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._started = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def say(self, text: str) -> None:
        """A line that stays, above the bars."""
        self._bars.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def stop(self) -> None:
        """Ends drawing; a later event begins anew."""
        with self._lock:
            if self._started:
                self._bars.stop()
                self._started = False

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

    def _task(self, name: str) -> Any:
        with self._lock:
            if not self._started:
                self._bars.start()
                self._started = True
            if name not in self._tasks:
                self._tasks[name] = self._bars.add_task("", total=None, artifact=name)
            return self._tasks[name]

    def _remove(self, name: str) -> None:
        with self._lock:
            task = self._tasks.pop(name, None)
            if task is not None:
                self._bars.remove_task(task)
            if not self._tasks and self._started:
                self._bars.stop()
                self._started = False


class Drawing:
    """What a command says while it works, on standard error: lines, and bars where there is a terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._live: LiveProgress | None = None
        self._plain = PlainProgress(stream)

    @property
    def progress(self) -> Progress:
        """What draws the artifacts' events."""
        if not self._stream.isatty():
            return self._plain
        if self._live is None:
            self._live = LiveProgress(self._stream)
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
