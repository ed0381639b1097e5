"""What a job needs on a device: its files by content, and where they go.

A file is told by its SHA-256, so it travels once and lies once however many names it has. A model
brings the files beside it that hold its weights. An evaluation folder keeps its class folders, the
empty ones too, as their order may be the classes'.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

from ghostedge_runtime.errors import InputError
from ghostedge_runtime.folders import class_folders, list_images
from ghostedge_runtime.formats.loading import (
    companion_files,
    file_digest,
    read_model_file,
    whole_digest,
)
from ghostedge_runtime.record import BenchJob


@dataclass(frozen=True)
class Parcel:
    """A job and its files, ready for any device.

    Attributes:
        job: With paths relative to the run's folder on the device.
        links: SHA-256 by such a path.
        folders: Folders to make there, relative to the run's.
        files: The files here, by SHA-256.
        sizes: Their bytes.
        origins: What the user called it, by path there: models, images and the data folder.
        models: SHA-256 of the models' files.
    """

    job: BenchJob
    links: Mapping[str, str]
    folders: tuple[str, ...]
    files: Mapping[str, Path]
    sizes: Mapping[str, int]
    origins: Mapping[str, str]
    models: tuple[str, ...]

    def plan(self, device: str, limits: Mapping[str, Any], by: str) -> bytes:
        """The JSON that the device's end takes.

        Args:
            device: How the device was named.
            limits: See `ghostedge_runtime.remote.runs.Limits`.
            by: Who measures, for those who wait for the same device.
        """
        plan = {
            "job": asdict(replace(self.job, device=device)),
            "links": self.links,
            "folders": self.folders,
            "sizes": self.sizes,
            "models": self.models,
            "limits": limits,
            "by": by,
        }
        return json.dumps(plan).encode()


def pack(job: BenchJob) -> Parcel:
    """Read and hash what a job needs.

    Raises:
        InputError: A file cannot be read, or a model is not the one that the job names.
        ImageError: There is no such data folder, or no image in it.
    """
    packer = _Packer()
    models = {
        sha256: f"models/{n}/{Path(f).name}" for n, (sha256, f) in enumerate(job.files.items())
    }
    for sha256, name in models.items():
        if packer.add_model(name, Path(job.files[sha256])) != sha256:
            raise InputError(
                "it changed while the measurement was being prepared",
                where=job.files[sha256],
                remedy="start again when it is written",
            )
    parts = tuple(dict.fromkeys(packer.links.values()))
    inputs = {f"inputs/{n:05}{Path(f).suffix}": f for n, f in enumerate(job.inputs)}
    for name, file in inputs.items():
        packer.add(name, Path(file))
    folders = () if job.data is None else packer.add_folder("data", Path(job.data), job.skipped)
    there = replace(
        job,
        files=models,
        inputs=tuple(inputs),
        data=None if job.data is None else "data",
        skipped=(),  # they stay here
    )
    origins = {name: job.files[sha256] for sha256, name in models.items()} | inputs
    if job.data is not None:
        origins["data"] = job.data
    return Parcel(there, packer.links, folders, packer.files, packer.sizes, origins, parts)


class _Packer:
    """Collects files by content."""

    def __init__(self) -> None:
        self.links: dict[str, str] = {}
        self.files: dict[str, Path] = {}
        self.sizes: dict[str, int] = {}

    def add(self, name: str, path: Path) -> str:
        """Take a file under a name on the device; its SHA-256."""
        sha256, size = _sha256(path)
        self.links[name] = sha256
        self.files.setdefault(sha256, path)
        self.sizes[sha256] = size
        return sha256

    def add_model(self, name: str, path: Path) -> str:
        """Take a model and the files beside it that hold its weights; its SHA-256 with theirs."""
        data = read_model_file(path)
        self.add(name, path)
        folder = PurePosixPath(name).parent
        for location, file in companion_files(data, path).items():
            self.add(str(folder / PurePath(location).as_posix()), file)
        return whole_digest(data, path)[0]

    def add_folder(self, name: str, root: Path, skipped: Collection[str]) -> tuple[str, ...]:
        """Take a folder's images but those to be skipped; the folders in it that may be classes."""
        left_out = {root / image for image in skipped}
        for path in list_images(root):
            if path in left_out:
                continue
            self.add(f"{name}/{path.relative_to(root).as_posix()}", path)
        return (name, *(f"{name}/{child.name}" for child in class_folders(root)))


def _sha256(path: Path) -> tuple[str, int]:
    try:
        return file_digest(path)
    except OSError as error:
        raise InputError(
            f"it cannot be read ({error.strerror or error})", where=path, remedy="check the path"
        ) from error
