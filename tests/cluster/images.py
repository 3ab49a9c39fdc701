"""Images as OCI archives, made of folders: one layer each, and the same bytes for the same files."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.cluster import settings

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_INDEX = "application/vnd.oci.image.index.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"


def pause_image(program: Path, archive: Path) -> Path:
    """What holds pods."""
    layers = archive.with_suffix(".layer")
    write_layer({"pause": program}, layers)
    write_image(
        archive, f"{settings.PAUSE_IMAGE}", [layers], {"Entrypoint": ["/pause"], "User": "65535:65535"}
    )
    layers.unlink()
    return archive


def write_layer(contents: Mapping[str, Path], layer: Path, folders: Sequence[str] = ()) -> None:
    """A layer with files and folders at the paths that ``contents`` maps them to, and empty ``folders``.
    Everything is root's."""
    with tarfile.open(layer, "w", format=tarfile.PAX_FORMAT) as tar:
        for folder in folders:
            info = tarfile.TarInfo(folder)
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(info)
        for target, source in contents.items():
            tar.add(source, target, filter=_of_root)


def _of_root(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mtime = 0
    return info


def write_image(archive: Path, name: str, layers: Sequence[Path], config: Mapping[str, Any]) -> str:
    """An OCI archive of uncompressed layers; the image's digest. A name that ends in ``@`` is completed with
    it."""
    digests = [_digest_of(layer) for layer in layers]
    document = {
        "architecture": _ARCHITECTURES[platform.machine()],
        "os": "linux",
        "config": dict(config),
        "rootfs": {"type": "layers", "diff_ids": digests},
    }
    configuration = _encoded(document)
    manifest = _encoded(
        {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": _descriptor(_CONFIG, configuration),
            "layers": [
                {"mediaType": _LAYER, "digest": digest, "size": layer.stat().st_size}
                for layer, digest in zip(layers, digests, strict=True)
            ],
        }
    )
    described = _descriptor(_MANIFEST, manifest)
    full_name = f"{name}{described['digest']}" if name.endswith("@") else name
    described["annotations"] = {"io.containerd.image.name": full_name}
    index = _encoded({"schemaVersion": 2, "mediaType": _INDEX, "manifests": [described]})
    with tarfile.open(archive, "w") as tar:
        _add(tar, "oci-layout", _encoded({"imageLayoutVersion": "1.0.0"}))
        for content in (configuration, manifest):
            _add(tar, f"blobs/sha256/{hashlib.sha256(content).hexdigest()}", content)
        for layer, digest in zip(layers, digests, strict=True):
            tar.add(layer, f"blobs/{digest.replace(':', '/')}", filter=_of_root)
        _add(tar, "index.json", index)
    return str(described["digest"])


def import_image(pid: int, packages: Path, archive: Path) -> None:
    """Gives an archive to the containerd in the namespaces of process ``pid``, unpacked."""
    enter = ("nsenter", f"--target={pid}", "--mount", "--net", "--pid")
    command = ("ctr", f"--address={settings.SOCKET}", "--namespace=k8s.io", "images", "import", str(archive))
    done = subprocess.run([*enter, *command], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr


def _digest_of(path: Path) -> str:
    with path.open("rb") as stream:
        return f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"


def _descriptor(media_type: str, content: bytes) -> dict[str, Any]:
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    return {"mediaType": media_type, "digest": digest, "size": len(content)}


def _encoded(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))
