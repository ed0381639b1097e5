"""The images a conversion is calibrated, checked and scored on.

Pixels are decoded again on every pass instead of being kept, so that memory does not grow with
the number of images.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from ghostedge.console import Reporter
from ghostedge.conversion.option_groups import CheckOptions
from ghostedge.records.manifest import SkippedImage
from ghostedge_runtime import host_facts
from ghostedge_runtime.errors import ImageError
from ghostedge_runtime.image_check import bad_lines, check_images
from ghostedge_runtime.images import LabelledImages, list_images, normalize, prepare
from ghostedge_runtime.metadata import Preprocessing

SYNTHETIC_IMAGES = 16
PARITY_IMAGES = 32


@dataclass(frozen=True)
class ImageSet:
    """Images by path or as pixels, with the words that name them in a report."""

    sources: Sequence[Path | Image.Image]
    description: str

    def __len__(self) -> int:
        return len(self.sources)

    def head(self, count: int) -> ImageSet:
        """At most ``count`` images spread evenly over the set, so that every folder has its share.

        A folder per class is listed class by class; the first ``count`` would be one class.
        """
        return ImageSet([self.sources[i] for i in spread(len(self), count)], self.description)

    def pixels(self, preprocessing: Preprocessing) -> Iterator[npt.NDArray[np.uint8]]:
        """Each image prepared: uint8, (height, width, channels)."""
        for source in self.sources:
            yield prepare(source, preprocessing)

    def prepared(self, preprocessing: Preprocessing) -> list[npt.NDArray[np.uint8]]:
        """All of them, of which there should not be many, an image on each core at a time."""
        with ThreadPoolExecutor(host_facts().cores) as pool:
            return list(pool.map(lambda source: prepare(source, preprocessing), self.sources))


def spread(total: int, count: int) -> list[int]:
    """Indices of at most ``count`` of ``total`` things, evenly apart, first and last among them."""
    if total <= count:
        return list(range(total))
    return [round(i) for i in np.linspace(0, total - 1, count)]


@dataclass(frozen=True)
class Batches(Sequence[npt.NDArray[np.float32]]):
    """An image set as a re-iterable of normalised float32 batches, (size, channels, height, width).

    A last batch that is not full is filled by repeating its last image.
    """

    images: ImageSet
    preprocessing: Preprocessing
    size: int

    def __len__(self) -> int:
        return math.ceil(len(self.images) / self.size)

    def __getitem__(self, index: Any) -> Any:
        """One of the batches, whose images alone are decoded."""
        first = range(0, len(self.images), self.size)[index]
        some = ImageSet(self.images.sources[first : first + self.size], self.images.description)
        return next(iter(Batches(some, self.preprocessing, self.size)))

    def __iter__(self) -> Iterator[npt.NDArray[np.float32]]:
        held: list[npt.NDArray[np.uint8]] = []
        for pixels in self.images.pixels(self.preprocessing):
            held.append(pixels)
            if len(held) == self.size:
                yield self._nchw(held)
                held = []
        if held:
            yield self._nchw(held + [held[-1]] * (self.size - len(held)))

    def _nchw(self, pixels: list[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float32]:
        normalized = normalize(np.stack(pixels), self.preprocessing)
        return np.ascontiguousarray(normalized.transpose(0, 3, 1, 2))


def calibration_set(folder: Path, limit: int) -> ImageSet:
    """The images of ``--calib``: any depth of folders, at most ``limit``, spread evenly.

    Raises:
        ImageError: The folder is missing or holds no image.
    """
    chosen = ImageSet(list_images(folder), "").head(limit).sources
    return ImageSet(chosen, f"{len(chosen)} calibration images")


@dataclass(frozen=True)
class UsableImages:
    """The images of a conversion, looked at before any work.

    Attributes:
        calibration: Those of ``--calib`` that are used, None where there is none.
        skipped: Those that cannot be used.
        notes: How many these are, and which.
    """

    calibration: ImageSet | None
    skipped: tuple[SkippedImage, ...]
    notes: tuple[str, ...]

    def without_skipped(self, evaluation: LabelledImages | None) -> LabelledImages | None:
        """The labelled images that can be used.

        Raises:
            ImageError: None can.
        """
        if evaluation is None:
            return None
        return evaluation.without({Path(image.file) for image in self.skipped})


def usable_images(options: CheckOptions, reporter: Reporter, *, decode_all: bool) -> UsableImages:
    """Look at every image of ``--calib`` and ``--eval``, before any work.

    With ``--skip-bad-images``, and where int8 is held to a budget on them over and over, those that
    will be used are decoded in full, so that none is found to be bad later.

    Raises:
        ImageError: Some cannot be used, and are all named; or a folder is missing, or none is left.
    """
    calib = [] if options.calib is None else list_images(options.calib)
    folder = options.eval
    # Files outside the class folders are none of the evaluation's, see `folders.list_labelled`.
    labelled = (
        [] if folder is None else [path for path in list_images(folder) if path.parent != folder]
    )
    folders = " and ".join(str(path) for path in (options.calib, options.eval) if path is not None)
    every = list(dict.fromkeys([*calib, *labelled]))
    with reporter.counted("look at images", len(every)) as progress:
        checked = check_images(every, progress=progress)
    bad = dict(checked.bad)
    if not options.skip_bad_images:
        checked.refuse(folders)
    chosen = _spread_over([path for path in calib if path not in bad], options.calib_images)
    if options.skip_bad_images or decode_all:
        used = dict.fromkeys([*chosen, *(path for path in labelled if path not in bad)])
        with reporter.counted("decode images", len(used)) as progress:
            again = check_images(list(used), decode_all=True, progress=progress)
        if not options.skip_bad_images:
            again.refuse(folders)
        bad |= again.bad
        chosen = [path for path in chosen if path not in bad]
    elif checked.decoded < checked.count:
        reporter.note(f"  {checked.words}")
    if calib and not chosen:
        raise ImageError(
            f"none of its {len(calib):,} images can be used:\n  "
            + "\n  ".join(bad_lines(bad.values())),
            where=f"--calib {options.calib}",
            remedy="give a folder of JPEG, PNG, BMP or WebP files",
        )
    skipped = tuple(SkippedImage(str(path), error.what) for path, error in bad.items())
    notes = (
        (f"{len(bad):,} of {len(every):,} images left out:", *bad_lines(bad.values()))
        if bad
        else ()
    )
    calibration = ImageSet(chosen, f"{len(chosen)} calibration images") if calib else None
    return UsableImages(calibration, skipped, notes)


def decodable(images: ImageSet) -> ImageSet:
    """Those of an image set that can be decoded, in words how many."""
    paths = [source for source in images.sources if isinstance(source, Path)]
    bad = check_images(paths, decode_all=True).bad
    usable = [s for s in images.sources if not isinstance(s, Path) or s not in bad]
    return ImageSet(usable, f"{len(usable)} of {images.description}")


def _spread_over(paths: Sequence[Path], limit: int) -> list[Path]:
    return [paths[index] for index in spread(len(paths), limit)]


def synthetic_set(preprocessing: Preprocessing) -> ImageSet:
    """Smooth random colour pictures, the same on every machine; transparent for four channels.

    They stand in for real images where none were given: good enough to tell whether two graphs
    compute the same function, and said to be synthetic in every report.
    """
    height, width = preprocessing.input_size
    rng = np.random.default_rng(0)
    channels = 4 if len(preprocessing.mean) == 4 else 3
    images = [
        Image.fromarray(rng.integers(0, 256, (8, 8, channels), dtype=np.uint8)).resize(
            (width, height), Image.Resampling.BICUBIC
        )
        for _ in range(SYNTHETIC_IMAGES)
    ]
    return ImageSet(images, "synthetic images (no --calib or --eval given)")
