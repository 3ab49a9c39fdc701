"""What a record of :mod:`contracts.versions` says of an artifact or an image.

Other rooms import these types from there, with the records.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias


class HostPlatform(StrEnum):
    """Operating systems and processors that binaries are recorded for."""

    LINUX_AMD64 = "linux-amd64"
    LINUX_ARM64 = "linux-arm64"
    DARWIN_AMD64 = "darwin-amd64"
    DARWIN_ARM64 = "darwin-arm64"


class Packing(StrEnum):
    """How a fetched file becomes an installed folder."""

    FILE = "file"
    TAR_GZ = "tar.gz"
    ZIP_OF_TXZ = "zip-of-txz"


@dataclass(frozen=True, kw_only=True)
class MavenFile:
    """One file of a Maven component. ``sha256`` in hexadecimal."""

    artifact: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class MavenArtifact:
    """A file from a Maven repository (https://maven.apache.org/repositories/artifacts.html).

    Args:
        name: the name components use.
        files: the file per platform; the key ``None`` is for every platform.
        packing: how the file becomes a folder.
        file_name: with ``Packing.FILE``, its name in the folder, free of the version.
        keep: with archives, the path prefixes (below the archive's single top folder) that are kept;
            empty keeps all.
        installed_bytes: size of the installed folder.
        scratch_bytes: what unpacking needs beside the archive and the result.
    """

    name: str
    group: str
    version: str
    files: Mapping[HostPlatform | None, MavenFile]
    packaging: str = "jar"
    classifier: str = ""
    packing: Packing = Packing.FILE
    file_name: str = ""
    keep: tuple[str, ...] = ()
    installed_bytes: int
    scratch_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class Wheel:
    """One wheel of a PyPI package."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class PyPiTool:
    """A program that comes as a platform wheel. ``home`` is its folder below the installed packages."""

    name: str
    package: str
    version: str
    wheels: Mapping[HostPlatform, Wheel]
    home: str
    installed_bytes: int


@dataclass(frozen=True, kw_only=True)
class PyPiSource:
    """A source archive of a PyPI package that holds what is wanted ready-made, for every platform.
    ``keep``: the path prefixes (below the archive's single top folder) that are kept."""

    name: str
    package: str
    version: str
    sha256: str
    size_bytes: int
    keep: tuple[str, ...]
    installed_bytes: int
    scratch_bytes: int


@dataclass(frozen=True, kw_only=True)
class PyPiLibraries:
    """Python packages that one service has beside the lab's own environment, as a folder for its module path.

    They are those of ``requirements``, a hash-pinned file of the checkout, that ``beside`` does not pin in
    the same version. ``download_bytes`` bounds free space.
    """

    name: str
    version: str
    requirements: str
    beside: str
    download_bytes: int
    installed_bytes: int


@dataclass(frozen=True, kw_only=True)
class ModuleFile:
    """A file of a Go module that is copied, executable, next to the built programs."""

    module: str
    path: str
    target: str


@dataclass(frozen=True, kw_only=True)
class GoBuild:
    """One program built from a pinned Go module.

    Args:
        module_directory: the committed tool module (go.mod, go.sum), relative to the checkout.
        package: the import path of its main package.
        target: the program's path in the installed folder.
        ldflags: link flags after ``-s -w``.
        module_files: files copied from the modules of this build.
    """

    module_directory: str
    package: str
    target: str
    ldflags: str = ""
    module_files: tuple[ModuleFile, ...] = ()


@dataclass(frozen=True, kw_only=True)
class GoTool:
    """Programs built from Go modules; their checksums are in the ``go.sum`` of each build.

    ``download_bytes`` are the modules fetched, ``scratch_bytes`` what they and the build take unpacked, as
    measured with empty caches.
    """

    name: str
    version: str
    builds: tuple[GoBuild, ...]
    download_bytes: int
    installed_bytes: int
    scratch_bytes: int


@dataclass(frozen=True, kw_only=True)
class NpmProject:
    """A folder of the checkout with packages from npm, and what is built from it.

    The packages' checksums are in its ``package-lock.json``; of its own files those of ``sources`` count, so
    that a change of one is another artifact.

    Args:
        directory: holds package.json, package-lock.json and .npmrc; relative to the checkout.
        sources: files and folders below it that the build reads.
        command: what ``node`` runs in the folder once its packages are there; empty runs nothing.
        target: the folder below it that becomes the artifact.
        development: with the packages that only linters and tests need.
        download_bytes: packages fetched; ``scratch_bytes`` what they take unpacked. Both bound free space.
    """

    name: str
    version: str
    directory: str
    sources: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    target: str = "."
    development: bool = False
    download_bytes: int
    installed_bytes: int
    scratch_bytes: int


@dataclass(frozen=True, kw_only=True)
class UrlDistribution:
    """An archive on its project's own download hosts: ``url`` serves current releases only,
    ``archive_url`` all of them. ``sha512`` None: not read yet, so refused."""

    name: str
    version: str
    url: str
    archive_url: str
    sha512: str | None
    size_bytes: int | None
    installed_bytes: int

    @property
    def urls(self) -> tuple[str, str]:
        """Where to look, in this order."""
        return self.url, self.archive_url


Artifact: TypeAlias = (
    MavenArtifact | PyPiTool | PyPiSource | PyPiLibraries | GoTool | NpmProject | UrlDistribution
)


@dataclass(frozen=True, kw_only=True)
class BaseImage:
    """An image of somebody else's, from any registry that mirrors it. ``digest`` None: not read yet, so
    refused."""

    repository: str
    tag: str
    digest: str | None


@dataclass(frozen=True, kw_only=True)
class ContainerImage:
    """One of the lab's own images. It holds the same artifacts that ``local`` runs, so that what was tested
    there is what runs on a cluster.

    Args:
        artifacts: names of artifacts, each a folder of the image.
        source: folders of the checkout.
        libraries: requirements files whose packages its Python has beside the standard library.
        services: services that run in it beside the one whose name it has.
        account: its user has a name, for programs that look themselves up.
    """

    name: str
    artifacts: tuple[str, ...] = ()
    source: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    account: bool = False
