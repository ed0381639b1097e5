"""What a look inside found, as ``features.json`` holds it; described in ``docs/features.md``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

FEATURES_NAME = "features.json"
FEATURES_VERSION = 1
PAGE_NAME = "index.html"


@dataclass(frozen=True)
class FileFacts:
    """A network that was looked into; ``file`` is its name without the folder."""

    file: str
    sha256: str
    format: str
    precision: str


@dataclass(frozen=True)
class ImageFacts:
    """An image, and its picture as the network sees it: resized and cropped."""

    file: str
    sha256: str
    picture: str


@dataclass(frozen=True)
class Pictures:
    """Names of PNG files; None where there is nothing to draw."""

    model: str
    against: str | None = None
    difference: str | None = None


@dataclass(frozen=True)
class ChannelError:
    """A channel that differs, by its number; ``sqnr_db`` as `Difference.sqnr_db`, of it alone."""

    channel: int
    sqnr_db: float


@dataclass(frozen=True)
class Difference:
    """How far feature maps y are from x; decibels are ``10 · log10``, 6 dB more half the error.

    Attributes:
        sqnr_db: ``Σx² / Σ(x - a·y)²`` in decibels; None without any difference. Large channels
            decide it.
        channel_db: The median of the same ratio over the channels, however large each is; those
            that x is silent in are left out. None where most do not differ at all.
        cosine: Of the angle between x and a·y, all values as one vector; None where one is all
            zeros.
        scale: Least and largest ``a`` of the channels, both 1 where none was fitted.
        unscaled: Channels that no positive ``a`` fits, being silent in one of the two, say; they
            are given the median of the others'.
        worst: A few channels of the lowest ratio, worst first.
    """

    sqnr_db: float | None
    channel_db: float | None
    cosine: float | None
    scale: tuple[float, float]
    unscaled: int
    worst: tuple[ChannelError, ...]


@dataclass(frozen=True)
class LayerFacts:
    """One layer on one image.

    Attributes:
        image: Its place in the list of images.
        name: The layer's.
        shape: Channels, height, width.
        primary: Of a ghost module, how many of its channels are primary; they come first.
        drawn: The channels in the pictures, as they stand there.
        pictures: The files.
        difference: None without ``--against``, or where it has no such layer.
    """

    image: int
    name: str
    shape: tuple[int, int, int]
    primary: int | None
    drawn: tuple[int, ...]
    pictures: Pictures
    difference: Difference | None


@dataclass(frozen=True)
class FeaturesReport:
    """Everything in the folder.

    Attributes:
        producer: The program and its version.
        model: MODEL.
        against: ``--against``, None without.
        rescaled: Whether its channels were rescaled to fit MODEL's (see `compare`).
        images: In the order given.
        layers: Image by image, in the graph's order.
        unmatched: Chosen layers that ``--against`` has nothing of that name for.
        notes: What was assumed, a sentence each.
    """

    producer: str
    model: FileFacts
    against: FileFacts | None
    rescaled: bool
    images: tuple[ImageFacts, ...]
    layers: tuple[LayerFacts, ...]
    unmatched: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def files(self) -> tuple[str, ...]:
        """Names of all files in the folder."""
        pictures = [name for layer in self.layers for name in asdict(layer.pictures).values()]
        return (
            FEATURES_NAME,
            PAGE_NAME,
            *(image.picture for image in self.images),
            *(name for name in pictures if name is not None),
        )

    def to_dict(self) -> dict[str, Any]:
        """The JSON document, as plain Python objects."""
        return {"features_version": FEATURES_VERSION, **asdict(self), "files": sorted(self.files)}
