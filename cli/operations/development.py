"""For those who work on the lab itself: the test suites, the pinned requirements, recorded checksums."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx

from cli.project import ROOT
from contracts.errors import LabError
from contracts.settings import Role
from contracts.templates import stack_template
from contracts.versions import POLARIS, UrlDistribution

LINTERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("ruff", (sys.executable, "-m", "ruff", "check", ".")),
    ("ruff format", (sys.executable, "-m", "ruff", "format", "--check", ".")),
    ("import-linter", (str(Path(sys.prefix) / "bin" / "lint-imports"),)),
    ("web", (sys.executable, "-m", "cli.toolchain.web", "lint")),
    ("mypy", (sys.executable, "-m", "mypy", ".")),
)

WORKERS = 2
"""Processes that run tests side by side. Each brings up a lab of its own for what needs one."""

_SIDE_BY_SIDE = ("--numprocesses", str(WORKERS), "--dist", "loadfile", "--no-loadscope-reorder")
_ONE_PROCESS = re.compile(
    # A file or a test is named; whoever chooses how to distribute; what needs the terminal or an order.
    r".*\.py(::.*)?|-n.*|--(numprocesses|dist|tx|maxprocesses)(=.*)?|no:xdist|-pno:xdist|"
    r"-s|--capture(=.*)?|--pdb|--trace|--co|--collect-only|--sw|--stepwise|--fixtures|--markers|-h|--help"
)

REQUIREMENTS = (
    ("requirements.in", "requirements.txt", ()),
    ("requirements-cloud.in", "requirements-cloud.txt", ("requirements.txt",)),
    ("requirements-agent.in", "requirements-agent.txt", ("requirements.txt",)),
    ("requirements-dev.in", "requirements-dev.txt", ("requirements-cloud.txt", "requirements-agent.txt")),
)

Run = Callable[[Sequence[str]], int]


def _run_here(command: Sequence[str]) -> int:
    return subprocess.run(command, cwd=ROOT, check=False).returncode


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a linter printed, and its exit code."""

    text: str
    exit_code: int


Lint = Callable[[Sequence[str]], Finding]


def _lint_here(command: Sequence[str]) -> Finding:
    done = subprocess.run(
        command, cwd=ROOT, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return Finding(text=done.stdout.rstrip(), exit_code=done.returncode)


@dataclass(frozen=True, kw_only=True)
class TestRun:
    """``failed`` names linters that found something, and pytest when a test failed."""

    failed: tuple[str, ...]
    exit_code: int


def run_tests(
    arguments: Sequence[str] = (),
    *,
    lint: bool = True,
    say: Callable[[str], None],
    run: Run = _run_here,
    lint_with: Lint = _lint_here,
) -> TestRun:
    """Runs the linters, side by side, then pytest with ``arguments``; all of them, so that one run shows
    everything. pytest comes last and its own closing line is the last that is printed."""
    failed = []
    for name, found in _lint(lint_with) if lint else ():
        say(f"{name}:\n{found.text}")
        if found.exit_code != 0:
            failed.append(name)
    if failed:
        say(f"linters found something: {', '.join(failed)}")
    code = run([sys.executable, "-m", "pytest", *distribution(arguments), *arguments])
    if code != 0:
        failed.append("pytest")
    return TestRun(failed=tuple(failed), exit_code=1 if failed else 0)


def _lint(lint_with: Lint) -> Iterator[tuple[str, Finding]]:
    with ThreadPoolExecutor(len(LINTERS)) as pool:
        names, commands = zip(*LINTERS, strict=True)
        yield from zip(names, pool.map(lint_with, commands), strict=True)


def distribution(arguments: Sequence[str]) -> tuple[str, ...]:
    """The options with which pytest runs whole files side by side: none where ``arguments`` name a file or
    a test, choose themselves, or want what only one process gives (``-s``, ``--pdb`` …)."""
    return () if any(_ONE_PROCESS.fullmatch(word) for word in arguments) else _SIDE_BY_SIDE


def lock_requirements(*, upgrade: bool = False, run: Run = _run_here) -> tuple[str, ...]:
    """Pins the requirements anew with hashes for every supported Python and system, from the index that
    the user's own configuration names. Returns the files written.

    Raises:
        LabError: they can't be resolved.
    """
    uv = str(Path(sys.prefix) / "bin" / "uv")
    fixed = (
        *("--universal", "--generate-hashes", "--python-version", "3.11", "--quiet"),
        *("--no-emit-index-url", "--no-annotate", "--no-header", "--override", "requirements-overrides.in"),
    )
    for source, target, constraints in REQUIREMENTS:
        extra = [part for file in constraints for part in ("--constraint", file)]
        command = [uv, "pip", "compile", *fixed, *extra, *(["--upgrade"] if upgrade else [])]
        if run([*command, source, "--output-file", target]) != 0:
            raise LabError(f"{source} can't be resolved", value=source, next_command="lab lock")
    return tuple(target for _, target, _ in REQUIREMENTS)


@dataclass(frozen=True, kw_only=True)
class RecordedChecksum:
    """What was recorded in contracts/versions.py."""

    name: str
    version: str
    sha512: str
    size_bytes: int


def record_checksums(
    say: Callable[[str], None],
    *,
    distribution: UrlDistribution = POLARIS,
    versions_file: Path = ROOT / "contracts" / "versions.py",
    transport: httpx.BaseTransport | None = None,
) -> RecordedChecksum:
    """Reads the official distribution, compares it with the checksum its project publishes beside it,
    and records checksum and size.

    Raises:
        LabError: it can't be fetched, or the two checksums differ; nothing was recorded.
    """
    errors: list[httpx.HTTPError] = []
    with httpx.Client(timeout=60.0, follow_redirects=True, transport=transport) as client:
        for url in distribution.urls:
            say(f"reading {url}")
            try:
                published, found, size_bytes = _read_distribution(client, url)
                break
            except httpx.HTTPError as error:
                errors.append(error)
        else:
            raise LabError(
                f"{distribution.name} {distribution.version} can't be fetched: {errors[0]}",
                value=", ".join(distribution.urls),
                next_command="lab images lock, where its download hosts can be reached",
            ) from errors[-1]
    if found != published:
        raise LabError(
            f"{distribution.name} {distribution.version} is not what its project published",
            value=f"sha512 {found}",
            permitted=f"sha512 {published}",
        )
    recorded = RecordedChecksum(
        name=distribution.name, version=distribution.version, sha512=found, size_bytes=size_bytes
    )
    _write_checksum(versions_file, distribution, recorded)
    return recorded


def _read_distribution(client: httpx.Client, url: str) -> tuple[str, str, int]:
    """The checksum published beside the archive, the archive's own and its size in bytes."""
    checksum_file = client.get(f"{url}.sha512")
    checksum_file.raise_for_status()
    # ``<hex>  <file>``, or gpg's ``<file>: <HEX in groups, over several lines>``.
    text = checksum_file.text.rpartition(":")[2]
    published = re.match(r"(?:[0-9a-f]\s*){128}", text.strip().lower())
    if published is None:
        raise LabError("the published checksum is not understood", value=text[:200], permitted="a SHA-512")
    digest, size_bytes = hashlib.sha512(), 0
    # As it is published: some hosts call a .tgz compressed on the way, which would be undone here.
    with client.stream("GET", url, headers={"Accept-Encoding": "identity"}) as answer:
        answer.raise_for_status()
        for chunk in answer.iter_raw():
            digest.update(chunk)
            size_bytes += len(chunk)
    return re.sub(r"\s", "", published[0]), digest.hexdigest(), size_bytes


def _write_checksum(path: Path, distribution: UrlDistribution, recorded: RecordedChecksum) -> None:
    """Replaces the two values in the row of ``distribution``, and nothing else."""
    text = path.read_text(encoding="utf-8")
    row = re.compile(
        rf'(archive_url="{re.escape(distribution.archive_url)}",\s*)sha512=[^,]+,[^\n]*(\s*)size_bytes=[^,]+,'
    )
    after, count = row.subn(
        rf'\g<1>sha512="{recorded.sha512}",  # noqa: E501 - one value\g<2>size_bytes={recorded.size_bytes},',
        text,
    )
    if count != 1:
        raise LabError(f"{path.name} has no single row for {distribution.name}", value=distribution.url)
    path.write_text(after, encoding="utf-8")


def write_templates(root: Path = ROOT) -> tuple[str, ...]:
    """Writes the tracked ``Pulumi.<stack>.yaml`` anew from the table of settings. Returns those that
    changed."""
    changed = []
    for role in Role:
        path = root / f"Pulumi.{role.value}.yaml"
        text = stack_template(role)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            changed.append(path.name)
    return tuple(changed)
