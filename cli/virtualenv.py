"""The lab's virtual environments, made on first use in the per-user cache. Standard library only.

One environment per content of the requirements file and Python version, so that a second checkout with
the same requirements reuses it. A stamp inside tells a finished one from an interrupted one; a file lock
keeps two first runs apart.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn, TextIO

STAMP = "lab-complete"
REQUIREMENTS = {
    "local": "requirements.txt",
    "cloud": "requirements-cloud.txt",
    "dev": "requirements-dev.txt",
}
# pip options a user may have set for other work that would install elsewhere than into the environment.
_MISPLACING = ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER", "PIP_REQUIREMENT", "PIP_CONSTRAINT")


class BootstrapError(Exception):
    """The virtual environment can't be made; the text is for the user."""

    def __init__(self, text: str, exit_code: int = 1) -> None:
        super().__init__(text)
        self.exit_code = exit_code


def start(root: str, arguments: Sequence[str], module: str = "cli") -> int:
    """Runs the command, or another ``module`` of the checkout, in its environment, which is made when it is
    missing. Returns an exit code only when that fails; otherwise this process is replaced."""
    signal.signal(signal.SIGTERM, _interrupt)
    words = _words(arguments)
    developing = module == "cli" and words[:1] in (["test"], ["lock"])
    kind = "dev" if developing else placement_kind(arguments, os.environ)
    try:
        if words[:2] == ["cache", "import"] and len(words) == 3:
            _take_wheels(Path(words[2]), Path(root))
        prefix = ensure(Path(root), kind)
    except BootstrapError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("\ninterrupted; the next ./lab continues from the start of this step", file=sys.stderr)
        return 130
    return _hand_over(prefix, root, arguments, module)


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _hand_over(prefix: Path, root: str, arguments: Sequence[str], module: str) -> NoReturn:
    python = str(prefix / "bin" / "python")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", "") and "PYTHONPYCACHEPREFIX" not in os.environ:
        # Many images ask for that, to keep folders clean. Every start would compile all it imports; it is
        # kept with the environment instead, and nothing beside the sources.
        os.environ["PYTHONPYCACHEPREFIX"] = str(prefix / "bytecode")
    # -P: a `cli` package in the folder the user stands in must not be taken for ours.
    os.execv(python, [python, "-P", "-m", module, *arguments])  # noqa: S606 - no shell is wanted


def _words(arguments: Sequence[str]) -> list[str]:
    """The subcommand and its arguments: what is neither an option nor the value of --name."""
    found, words = [], iter(arguments)
    for word in words:
        if word == "--name":
            next(words, None)
        elif not word.startswith("-"):
            found.append(word)
    return found


def placement_kind(arguments: Sequence[str], environ: Mapping[str, str]) -> str:
    """``cloud`` for a lab on a cluster, as its settings say or are about to; else ``local``. A lab's files
    are not checked here: whoever reads them next does."""
    elsewhere = r"(--set=|--)?placement[= ](kubernetes|aws)"
    pairs = (" ".join(pair) for pair in itertools.pairwise(arguments))
    if any(re.fullmatch(elsewhere, words) for words in (*arguments, *pairs)):
        return "cloud"
    name, given = environ.get("LAB_NAME") or "lab", list(arguments)
    for position, word in enumerate(given):
        if word == "--name":
            name = (given[position + 1 :] or [name])[0]
        elif word.startswith("--name="):
            name = word.removeprefix("--name=")
    data = environ.get("XDG_DATA_HOME") or "~/.local/share"
    home = Path(environ.get("LAB_HOME") or f"{data}/lakehouse-lab").expanduser()
    try:
        text = (home / name / "project" / "Pulumi.lab.yaml").read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError):
        return "local"
    setting = r"^\s*[\"']?lakehouse-lab:placement[\"']?:\s*[\"']?(kubernetes|aws)\b"
    return "cloud" if re.search(setting, text, flags=re.MULTILINE) else "local"


def _take_wheels(file: Path, root: Path) -> None:
    """Where there is no environment yet, an import brings what it is made from. Raises BootstrapError."""
    if is_complete(cache_folder(os.environ) / "venv" / environment_name(root, "local")):
        return
    # Not needed for anything else that this module does.
    from cli import wheelhouse
    from contracts.errors import LabError

    try:
        wheelhouse.take_wheels(file, root, cache_folder(os.environ))
    except LabError as error:
        raise BootstrapError(error.render(), exit_code=error.exit_code) from None


def ensure(root: Path, kind: str, *, environ: Mapping[str, str] | None = None) -> Path:
    """The folder of the finished environment for ``kind`` of :data:`REQUIREMENTS`.

    Raises:
        BootstrapError: venv or pip is missing, or pip failed; says what to do.
    """
    env = dict(os.environ if environ is None else environ)
    requirements = root / REQUIREMENTS[kind]
    prefix = cache_folder(env) / "venv" / environment_name(root, kind)
    if is_complete(prefix):
        return prefix
    _check_prerequisites()
    try:
        prefix.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BootstrapError(
            f"the cache folder can't be made: {error}\n"
            "  next:      set LAB_CACHE to a folder you can write to",
            exit_code=3,
        ) from None
    with _locked(prefix.with_suffix(".lock")):
        if not is_complete(prefix):
            _build(prefix, requirements, env)
    return prefix


def cache_folder(environ: Mapping[str, str]) -> Path:
    """As contracts.settings.cache_home, which can't be loaded before the environment is there."""
    if environ.get("LAB_CACHE"):
        return Path(environ["LAB_CACHE"]).expanduser().absolute()
    return Path(environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser().absolute() / "lakehouse-lab"


def environment_name(root: Path, kind: str) -> str:
    """What an environment of this checkout is called in the cache; its wheels are called the same."""
    return f"{kind}-{key(root / REQUIREMENTS[kind])}"


def wheels_folder(cache: Path, environment: str) -> Path:
    """Where an environment's wheels are when they were imported or exported: all of them, or no folder."""
    return cache / "wheels" / environment


def machine() -> str:
    """Operating system and processor."""
    return f"{sys.platform} {os.uname().machine}"


def key(requirements: Path) -> str:
    """Changes with the requirements, the Python minor version and the machine's architecture."""
    digest = hashlib.sha256(requirements.read_bytes())
    digest.update(f"{sys.implementation.cache_tag} {machine()}".encode())
    return digest.hexdigest()[:16]


def is_complete(prefix: Path) -> bool:
    """Built to the end, and the Python it was made with is still installed."""
    return (prefix / STAMP).exists() and os.access(prefix / "bin" / "python", os.X_OK)


def _check_prerequisites() -> None:
    missing = [name for name in ("venv", "ensurepip") if importlib.util.find_spec(name) is None]
    if missing:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise BootstrapError(
            f"this Python has no {' and no '.join(missing)}, so it can't make a virtual environment\n"
            f"  given:     Python {version} ({sys.executable})\n"
            f"  permitted: Python 3.11 or newer with the modules venv and ensurepip\n"
            f"  next:      apt install python{version}-venv (Debian, Ubuntu), "
            f"or dnf install python3-pip (Fedora)",
            exit_code=3,
        )


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds an exclusive lock that the system releases when the process ends, however it ends."""
    with path.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting for another lab command that makes the virtual environment", file=sys.stderr)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def count(requirements: Path) -> int:
    """How many packages a requirements file pins."""
    return len(re.findall(r"^[A-Za-z0-9].*==", requirements.read_text(), flags=re.MULTILINE))


def pip_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The user's environment without what would make pip work elsewhere than it is told."""
    return {name: value for name, value in environ.items() if name not in _MISPLACING}


def _build(prefix: Path, requirements: Path, environ: Mapping[str, str]) -> None:
    total = count(requirements)
    began = time.monotonic()
    progress = Progress(sys.stderr, total)
    progress.say(f"first use: making the virtual environment ({total} packages) in {prefix}")
    environ = pip_environment(environ)
    made = subprocess.run(
        [sys.executable, "-m", "venv", "--clear", str(prefix)], env=environ, capture_output=True, text=True
    )
    if made.returncode != 0:
        raise BootstrapError(f"the virtual environment can't be made\n{made.stdout}{made.stderr}".rstrip())
    log = prefix / "pip.log"
    wheels = wheels_folder(cache_folder(environ), prefix.name)
    done = False
    if wheels.is_dir():
        progress.say(f"from the wheels in {wheels}, without a package index")
        done = _install(
            prefix, requirements, environ, log, progress, "--no-index", "--find-links", str(wheels)
        )
        if not done:
            progress.say(f"{_pip_failure(log, requirements)}\nthe package index is tried instead")
    if not (done or _install(prefix, requirements, environ, log, progress)):
        raise BootstrapError(_pip_failure(log, requirements))
    (prefix / STAMP).write_text(requirements.name + "\n")
    progress.say(f"virtual environment ready after {time.monotonic() - began:.0f} s")


def _install(
    prefix: Path,
    requirements: Path,
    environ: Mapping[str, str],
    log: Path,
    progress: Progress,
    *options: str,
) -> bool:
    """Runs pip with ``options`` besides ours; its output goes to ``log``. Returns whether it succeeded."""
    # pip unpacks there; the system's folder for temporary files may be a small memory disk.
    temporary = prefix / "tmp"
    temporary.mkdir(exist_ok=True)
    pip = [str(prefix / "bin" / "python"), "-m", "pip", "install", "--require-hashes", "--no-deps"]
    # Compiled on first import instead: most modules are never loaded.
    ours = ["--no-compile", "--no-user", "--no-input", "--disable-pip-version-check", "--progress-bar=off"]
    with (
        log.open("w") as kept,
        subprocess.Popen(
            [*pip, *ours, *options, "-r", str(requirements)],
            env={**environ, "TMPDIR": str(temporary)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as child,
    ):
        assert child.stdout is not None  # noqa: S101 - it was asked for above
        try:
            for line in child.stdout:
                kept.write(line)
                progress.pip_line(line)
        except BaseException:
            child.terminate()
            raise
    progress.end()
    shutil.rmtree(temporary, ignore_errors=True)
    return child.returncode == 0


def _pip_failure(log: Path, requirements: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    errors = [line for line in lines if line.lstrip().startswith(("ERROR", "error"))] or lines[-10:]
    return "\n".join(
        [
            f"pip could not install the packages of {requirements.name}",
            *(f"  {line.strip()}" for line in errors[-10:]),
            f"  whole log: {log}",
            "  next:      check the network and your pip configuration (pip config list), then ./lab again",
        ]
    )


class Progress:
    """One line that is rewritten on a terminal; plain lines, few of them, elsewhere."""

    def __init__(self, stream: TextIO, total: int) -> None:
        self._stream = stream
        self._total = total
        self._seen: set[str] = set()
        self._terminal = stream.isatty()
        self._began = self._last = time.monotonic()

    def say(self, text: str) -> None:
        print(text, file=self._stream, flush=True)

    def pip_line(self, line: str) -> None:
        """Reads what pip prints: ``Collecting NAME==V``, ``Downloading FILE (12.3 MB)``, ``Installing …``."""
        if line.startswith("Installing collected packages"):
            self._show("installing")
        elif found := re.match(r"Collecting ([A-Za-z0-9._-]+)==|Processing (?:.*/)?([\w.]+)-", line):
            name = found[1] or found[2]
            self._seen.add(name)
            self._show(name)
        elif found := re.match(r"\s+(?:Downloading|Using cached) (\S+) \(([^)]*)\)", line):
            self._show(f"{found[1].rsplit('/', 1)[-1].split('-')[0]} ({found[2]})")

    def end(self) -> None:
        if self._terminal:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def _show(self, what: str) -> None:
        now = time.monotonic()
        text = f"  packages {len(self._seen)}/{self._total}  {now - self._began:3.0f} s  {what}"
        if self._terminal:
            self._stream.write(f"\r\x1b[K{text[:100]}")
            self._stream.flush()
        elif now - self._last >= 10 or what == "installing":
            self._last = now
            self.say(text)
