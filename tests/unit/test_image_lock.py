"""``lab images lock``: the published checksum is read, compared with the archive's own, and recorded."""

from __future__ import annotations

import ast
import hashlib
import shutil
import textwrap
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from cli.operations.development import record_checksums
from contracts import versions
from contracts.errors import LabError
from contracts.versions import POLARIS

CONTENT = b"\x1f\x8b the archive as published " * 1000
DIGEST = hashlib.sha512(CONTENT).hexdigest()
_GROUPS = textwrap.wrap(DIGEST.upper(), 8)
GPG = (
    f"polaris-bin-1.7.0.tgz: {' '.join(_GROUPS[:6])}\n {' '.join(_GROUPS[6:12])}\n {' '.join(_GROUPS[12:])}\n"
)
COREUTILS = f"{DIGEST}  polaris-bin-1.7.0.tgz\n"


@pytest.fixture
def versions_file(tmp_path: Path) -> Path:
    """The repository's own file, to be changed."""
    return Path(shutil.copy(versions.__file__, tmp_path))


def _recorded(path: Path) -> dict[str, object]:
    """The values of the row, as Python reads them."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "POLARIS":
            assert isinstance(node.value, ast.Call)
            return {str(k.arg): ast.literal_eval(k.value) for k in node.value.keywords}
    raise AssertionError("there is no row")


def _hosts(files: Mapping[str, bytes]) -> httpx.MockTransport:
    def answer(request: httpx.Request) -> httpx.Response:
        content = files.get(str(request.url))
        if content is None:
            return httpx.Response(404)
        # A host that calls the archive compressed on the way must not have it unpacked.
        headers = {"Content-Encoding": "x-gzip"} if request.url.path.endswith(".tgz") else {}
        return httpx.Response(200, stream=httpx.ByteStream(content), headers=headers)

    return httpx.MockTransport(answer)


@pytest.mark.parametrize("published", [COREUTILS, GPG, DIGEST], ids=["coreutils", "gpg", "bare"])
@pytest.mark.parametrize("url", POLARIS.urls, ids=["current", "archive"])
def test_checksum_and_size_are_recorded_and_nothing_else(
    versions_file: Path, url: str, published: str
) -> None:
    before = versions_file.read_text(encoding="utf-8").splitlines()
    hosts = _hosts({url: CONTENT, f"{url}.sha512": published.encode()})
    said: list[str] = []
    result = record_checksums(said.append, versions_file=versions_file, transport=hosts)
    assert (result.sha512, result.size_bytes) == (DIGEST, len(CONTENT))
    assert said[-1] == f"reading {url}"
    row = _recorded(versions_file)
    assert (row["sha512"], row["size_bytes"]) == (DIGEST, len(CONTENT))
    after = versions_file.read_text(encoding="utf-8").splitlines()
    changed = [new for old, new in zip(before, after, strict=True) if old != new]
    assert len(changed) == 2
    record_checksums(said.append, versions_file=versions_file, transport=hosts)
    assert versions_file.read_text(encoding="utf-8").splitlines() == after, "a second time changes nothing"


@pytest.mark.parametrize(
    ("published", "said"),
    [
        (COREUTILS.replace(DIGEST[:4], "0000"), "not what its project published"),
        ("<html>moved</html>", "published checksum is not understood"),
        (None, "can't be fetched"),
    ],
    ids=["other", "no checksum", "no answer"],
)
def test_nothing_is_recorded_unless_both_agree(versions_file: Path, published: str | None, said: str) -> None:
    before = versions_file.read_bytes()
    answers = {POLARIS.url: CONTENT}
    if published is not None:
        answers[f"{POLARIS.url}.sha512"] = published.encode()
    with pytest.raises(LabError, match=said):
        record_checksums(lambda _: None, versions_file=versions_file, transport=_hosts(answers))
    assert versions_file.read_bytes() == before


def test_a_row_that_is_not_there_is_named(versions_file: Path) -> None:
    other = replace(POLARIS, url="https://host.example/a.tgz", archive_url="https://host.example/old/a.tgz")
    hosts = _hosts({other.url: CONTENT, f"{other.url}.sha512": DIGEST.encode()})
    with pytest.raises(LabError, match="no single row"):
        record_checksums(lambda _: None, distribution=other, versions_file=versions_file, transport=hosts)
