"""Processes of the operating system: which are ours, who holds a port, start and end of one."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from contracts.errors import LabError, PreflightError

UNPRIVILEGED_USER = "nobody"
SAFE_ENVIRONMENT = ("PATH", "LANG", "TZ")
_LOADING_LOOKS, _LOADING_PAUSE_S = 25, 0.02
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, kw_only=True)
class ProcessIdentity:
    """A process that can't be mistaken for a later one with the same pid.

    ``birth`` names the moment it was made. On Linux that is the boot and the tick since boot, which no
    change of the clock moves (https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html, field 22);
    elsewhere the creation time.
    """

    pid: int
    birth: str

    @property
    def alive(self) -> bool:
        """Whether it still runs; a zombie does not."""
        return birth_of(self.pid) == self.birth


def birth_of(pid: int) -> str | None:
    """When the process with this pid was made; None when there is none or it is a zombie."""
    if _BOOT_ID.exists():
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None
        # The command's name may hold spaces and parentheses; the fields after it do not.
        fields = stat.rpartition(")")[2].split()
        if fields[0] in ("Z", "X"):
            return None
        return f"{_BOOT_ID.read_text(encoding='ascii').strip()}:{fields[19]}"
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return f"{process.create_time():.2f}"
    except psutil.Error:
        return None


def _of_this_boot(identity: ProcessIdentity) -> bool:
    if _BOOT_ID.exists():
        return identity.birth.startswith(_BOOT_ID.read_text(encoding="ascii").strip())
    return float(identity.birth) >= psutil.boot_time()


def identify(pid: int) -> ProcessIdentity | None:
    """The identity of a running process, None when it is gone."""
    birth = birth_of(pid)
    return None if birth is None else ProcessIdentity(pid=pid, birth=birth)


def unprivileged_ids() -> tuple[int, int] | None:
    """User and group to drop to for a service that must not be root; None when we are not root."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(UNPRIVILEGED_USER)
    except KeyError:
        raise LabError(
            f"as root the database runs as user {UNPRIVILEGED_USER!r}, which this machine does not have",
            permitted="a passwd entry of that name, or running the lab as an ordinary user",
        ) from None
    return entry.pw_uid, entry.pw_gid


def service_environment(env: Mapping[str, str], home: Path, marker: str) -> dict[str, str]:
    """The whole environment of a service: a short list of harmless variables and its own."""
    safe = {name: os.environ[name] for name in SAFE_ENVIRONMENT if name in os.environ}
    # By LANG=C Java would take names of files for ASCII, and not find a lab whose path is not.
    fixed = {"HOME": str(home), "TMPDIR": str(home), "LC_ALL": "C.UTF-8", "LAB_SERVICE": marker}
    return {**safe, **fixed, **env}


def spawn(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    log: Path,
    ids: tuple[int, int] | None,
) -> subprocess.Popen[bytes]:
    """Starts a service in a session of its own. It appends to ``log`` itself, so that it keeps its
    output when the supervisor goes. Raises LabError when the command can't be run."""
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        return subprocess.Popen(
            list(argv),
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            start_new_session=True,
            umask=0o077,
            user=None if ids is None else ids[0],
            group=None if ids is None else ids[1],
            extra_groups=None if ids is None else [],
        )
    except OSError as error:
        raise LabError(f"the command can't be run: {error}", value=argv[0]) from error
    finally:
        os.close(descriptor)


def send(identity: ProcessIdentity, number: int) -> None:
    """Signals the process if it is still the same one."""
    if identity.alive:
        with contextlib.suppress(ProcessLookupError):
            os.kill(identity.pid, number)


def group_members(leader: ProcessIdentity) -> list[psutil.Process]:
    """What still runs in the process group of ``leader``, itself included.

    A group's number is not given to another process while the group has members; so when the leader's
    pid belongs to another process now, the group is gone.
    """
    if not _of_this_boot(leader) or birth_of(leader.pid) not in (None, leader.birth):
        return []
    members = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if os.getpgid(process.pid) == leader.pid and process.status() != psutil.STATUS_ZOMBIE:
                members.append(process)
    return members


def kill_group(leader: ProcessIdentity) -> None:
    """Ends at once what is left of a service."""
    for process in group_members(leader):
        with contextlib.suppress(psutil.Error):
            process.kill()


def find_marked(marker: str) -> ProcessIdentity | None:
    """The session leader whose environment carries ``marker``: a service that was started by a
    supervisor that was killed before it could write the pid down."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if os.getsid(process.pid) == process.pid and process.environ().get("LAB_SERVICE") == marker:
                return identify(process.pid)
    return None


def remove_stale_pid_file(path: Path) -> bool:
    """Deletes a service's own pid file unless the process it names is that service: then its command line
    names the file's folder. Returns whether it was deleted."""
    try:
        pid = int(path.read_text(encoding="utf-8", errors="replace").split(maxsplit=1)[0])
        running = str(path.parent) in _command_line(psutil.Process(pid))
    except FileNotFoundError:
        return False
    except (ValueError, IndexError, psutil.Error):
        running = False
    if not running:
        path.unlink(missing_ok=True)
    return not running


def _command_line(process: psutil.Process) -> list[str]:
    """Its words; those of a program that is only just being loaded are not there yet, those of a kernel's
    thread never. Raises psutil.Error."""
    for _ in range(_LOADING_LOOKS):
        words = process.cmdline()
        if words:
            return words
        time.sleep(_LOADING_PAUSE_S)
    return []


def resident_mib(pids: Iterable[int]) -> dict[int, int]:
    """Resident memory in MiB of each process and all below it; pages shared with it are counted once. Those
    that run no more are left out. Looks at every process of the machine, once for all of ``pids``."""
    below: dict[int, list[psutil.Process]] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            below.setdefault(process.ppid(), []).append(process)
    found = {}
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            total = psutil.Process(pid).memory_info().rss
            found[pid] = (total + sum(map(_own_bytes, _all_below(pid, below)))) >> 20
    return found


def _all_below(pid: int, below: Mapping[int, Sequence[psutil.Process]]) -> Iterator[psutil.Process]:
    for child in below.get(pid, ()):
        yield child
        yield from _all_below(child.pid, below)


def _own_bytes(process: psutil.Process) -> int:
    with contextlib.suppress(psutil.Error):
        info = process.memory_info()
        return int(info.rss - getattr(info, "shared", 0))
    return 0


def port_is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen there now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a connection that is still closing does not hold the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


_SHOWN_COMMAND = 80
"""Characters of a command line, so that several owners fit in one message."""


def refuse_taken_ports(
    ports: Mapping[str, int], *, another: Callable[[], str] = lambda: "lab doctor"
) -> None:
    """Raises PreflightError when somebody listens on one of ``ports`` (label to number); names who.
    ``another`` gives the command that chooses other ports."""
    taken = {label: port for label, port in ports.items() if not port_is_free(port)}
    if taken:
        held = "; ".join(f"{port} ({label}) by {port_owner(port)}" for label, port in taken.items())
        raise PreflightError(
            f"ports of this lab are taken: {held}",
            value=sorted(taken.values()),
            permitted="free ports: end those processes, or give this lab another block",
            next_command=another(),
        )


def port_owner(port: int) -> str:
    """Who listens on ``port``, for a message: pid, and the lab's service or else the command, where the
    system tells them."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.Error:
        connections = []
    for connection in connections:
        if connection.status != psutil.CONN_LISTEN or not connection.laddr or connection.laddr.port != port:
            continue
        if connection.pid is None:
            break
        return f"process {connection.pid} ({_told_of(connection.pid)})"
    return "another user's process (its pid is hidden)"


def _told_of(pid: int) -> str:
    with contextlib.suppress(psutil.Error):
        home, _, service = psutil.Process(pid).environ().get("LAB_SERVICE", "").rpartition(":")
        if home:
            return f"service {service} of the lab in {home}"
    with contextlib.suppress(psutil.Error):
        command = " ".join(psutil.Process(pid).cmdline())
        if command:
            return command if len(command) <= _SHOWN_COMMAND else f"{command[:_SHOWN_COMMAND]} …"
    return "its command is hidden"


def end_signal(name: str) -> int:
    """The number of a signal's name."""
    return int(signal.Signals[name])
