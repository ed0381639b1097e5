"""Folders of images: any depth without labels, a folder per class with them.

Listing only: no file is opened. What systems and tools leave behind is passed over: hidden files
and folders (a leading dot, such as ``.DS_Store``, ``._x.jpg`` or ``.ipynb_checkpoints``) and those
of `_LEFTOVERS`. Symbolic links are followed once. Names compare as Unicode's NFC: macOS writes an
accent as a letter and a mark, and a zip file keeps that.
"""

from __future__ import annotations

import difflib
import os
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ghostedge_runtime.errors import ImageError

# In lower case: of macOS's zip files, Synology's and QNAP's media index, Windows, ext4 and Python.
_LEFTOVERS = frozenset(
    {
        "__macosx",
        "@eadir",
        "#recycle",
        "@recycle",
        "thumbs.db",
        "ehthumbs.db",
        "desktop.ini",
        "$recycle.bin",
        "system volume information",
        "lost+found",
        "__pycache__",
    }
)
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})
_NAMED_IN_ERROR = 5


@dataclass(frozen=True)
class LabelledImages:
    """Images with their classes.

    Attributes:
        paths: The images, sorted within each class.
        targets: For each image the index of its class in the model's output.
        class_names: Names by class index.
    """

    paths: tuple[Path, ...]
    targets: tuple[int, ...]
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.paths) != len(self.targets):
            raise ValueError(f"{len(self.paths)} paths but {len(self.targets)} targets")

    def spread(self, most: int) -> LabelledImages:
        """At most so many of them, evenly over the whole list, so that each class has its share."""
        count = min(len(self.paths), most)
        places = [index * len(self.paths) // count for index in range(count)]
        return replace(
            self,
            paths=tuple(self.paths[place] for place in places),
            targets=tuple(self.targets[place] for place in places),
        )

    def without(self, paths: Collection[Path]) -> LabelledImages:
        """The others of the same classes.

        Raises:
            ImageError: There are no others.
        """
        pairs = zip(self.paths, self.targets, strict=True)
        remaining = [(path, target) for path, target in pairs if path not in paths]
        if not remaining:
            raise ImageError(
                f"none of its {len(self.paths):,} labelled images can be used",
                where=self.paths[0].parent.parent,
                remedy="replace them, or do without scores",
            )
        left, targets = zip(*remaining, strict=True)
        return replace(self, paths=left, targets=targets)


def list_images(folder: str | os.PathLike[str]) -> list[Path]:
    """All JPEG, PNG, BMP and WebP files under a folder, at any depth, sorted by path.

    Raises:
        ImageError: There is no such folder, or no image in it.
    """
    root = _folder(folder)
    images = sorted(_walk(root))
    if not images:
        raise ImageError(
            "there is no image in this folder",
            where=root,
            remedy="put JPEG, PNG, BMP or WebP files in it, at any depth",
        )
    return images


def list_labelled(
    folder: str | os.PathLike[str], labels: Sequence[str] | None, num_classes: int | None
) -> LabelledImages:
    """Images in a folder per class.

    With ``labels``, each folder's name must be one of them and the label's place is the class
    index; folders for some of the labels are enough, and one that holds no image need not be a
    label. Without, the sorted folder names are the classes, and there must be ``num_classes`` of
    them: all folders, or else those that hold images. Files outside the class folders are passed
    over, as in torchvision's ImageFolder.

    Args:
        folder: Holds one folder per class; images lie in those at any depth.
        labels: The model's labels by class index, or None where they are not known.
        num_classes: Number of the model's outputs, or None where any count will do.

    Raises:
        ImageError: No such folder, no class folders, no images in them, a folder that is none of
            the labels, or a count of folders other than ``num_classes``.
    """
    root = _folder(folder)
    folders = class_folders(root)
    if not folders:
        raise ImageError(
            "it holds no folders, so its images have no labels",
            where=root,
            remedy="sort the images into one folder per class, named like the label",
        )
    images = {folder: sorted(_walk(folder)) for folder in folders}
    if labels is None:
        names = _by_order(images, num_classes, root)
    else:
        _check_labels(images, labels, root)
        names = list(labels)
    indices = {_nfc(name): index for index, name in enumerate(names)}
    labelled = [
        (path, indices[_nfc(folder.name)]) for folder, paths in images.items() for path in paths
    ]
    if not labelled:
        raise ImageError(
            f"there is no image in its {len(folders)} class folders",
            where=root,
            remedy="put JPEG, PNG, BMP or WebP files in them",
        )
    paths, targets = zip(*labelled, strict=True)
    return LabelledImages(paths, targets, tuple(names))


def class_folders(root: Path) -> list[Path]:
    """The folders of a folder that may be classes, sorted by name."""
    folders = (path for path in root.iterdir() if path.is_dir() and not _is_leftover(path.name))
    return sorted(folders, key=lambda path: (_nfc(path.name), path.name))


def _by_order(
    images: Mapping[Path, Sequence[Path]], num_classes: int | None, root: Path
) -> list[str]:
    """The class names: of all folders where these are as many, else of those with images."""
    every = _names(images)
    filled = _names(folder for folder, paths in images.items() if paths)
    if num_classes is None:
        return filled or every
    for names in (every, filled):
        if len(names) == num_classes:
            return names
    raise ImageError(
        f"it holds {len(every)} class folders but the model has {num_classes} classes",
        where=root,
        remedy="the model file has no labels to match by name: make one folder per class, "
        "an empty one where there are no images, or convert the model with its labels",
    )


def _names(folders: Iterable[Path]) -> list[str]:
    """Their names, each once however its accents are written."""
    return list(dict.fromkeys(_nfc(folder.name) for folder in folders))


def _check_labels(images: Mapping[Path, Sequence[Path]], labels: Sequence[str], root: Path) -> None:
    """Refuse a folder with images that is no label, or several labels'."""
    names = [_nfc(folder.name) for folder, paths in images.items() if paths]
    counts = Counter(map(_nfc, labels))
    twice = sorted(name for name in set(names) if counts[name] > 1)
    if twice:
        raise ImageError(
            f"the model has several classes named {_quoted(twice)}, "
            "so a folder of that name is ambiguous",
            where=root,
            remedy="convert the model with labels that differ",
        )
    strangers = [name for name in names if name not in counts]
    if strangers:
        raise ImageError(
            f"{len(strangers)} of {len(names)} folders are none of the model's "
            f"{len(labels)} labels: {_with_closest(strangers, labels)}",
            where=root,
            remedy="name each folder like its label; the model's labels are: " + _quoted(labels),
        )


def _with_closest(strangers: Sequence[str], labels: Sequence[str]) -> str:
    """Each stranger with the label nearest to it, the nearest pairs first."""
    matcher = difflib.SequenceMatcher()
    pairs = []
    for name in strangers:
        matcher.set_seq2(name)
        score, label = max(((_ratio(matcher, x), x) for x in labels), default=(0.0, ""))
        pairs.append((-score, f"{name!r} (closest label: {label!r})"))
    pairs.sort()
    return _shortened([text for _, text in pairs])


def _ratio(matcher: difflib.SequenceMatcher[str], label: str) -> float:
    matcher.set_seq1(label)
    return matcher.ratio()


def _quoted(names: Sequence[str]) -> str:
    return _shortened([repr(name) for name in names])


def _shortened(texts: Sequence[str]) -> str:
    more = len(texts) - _NAMED_IN_ERROR
    return ", ".join(texts[:_NAMED_IN_ERROR]) + (f" and {more} more" if more > 0 else "")


def _folder(folder: str | os.PathLike[str]) -> Path:
    path = Path(folder)
    if not path.is_dir():
        what = "it is a file, not a folder" if path.exists() else "there is no such folder"
        raise ImageError(what, where=path, remedy="give the path of a folder of images")
    return path


def _walk(root: Path) -> Iterator[Path]:
    """Image files under ``root``; a folder reached twice through links is walked once."""
    seen: set[str] = set()
    for parent, children, files in os.walk(root, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:
            children.clear()
            continue
        seen.add(real)
        children[:] = sorted(name for name in children if not _is_leftover(name))
        for name in files:
            path = Path(parent, name)
            if path.suffix.lower() in SUFFIXES and not _is_leftover(name):
                yield path


def _is_leftover(name: str) -> bool:
    return name.startswith(".") or name.lower() in _LEFTOVERS


def _nfc(name: str) -> str:
    return unicodedata.normalize("NFC", name)
