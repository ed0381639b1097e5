"""What batch norms say of the images a network is given, as `manifest.json` and `inspect` keep it.

A batch norm remembers mean and variance of what it saw in training. Images prepared as in training
bring it the same again; what differs, and from which layer on, says whether the preprocessing, the
network and the images are those of training.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ghostedge_runtime.metadata import ColorOrder

NO_IMAGES = (
    "preprocessing, network and images not checked: there are none of --calib or --eval to hold "
    "against the weights; --calib FOLDER with 32 to 64 typical ones does it (no labels needed)"
)
NO_NORMS = (
    "preprocessing, network and images not checked: it cannot be told, for no batch norm remembers "
    "training (there is none, or they are folded into convolutions); check the checkpoint that "
    "it was made from: `ghostedge inspect model.pt --calib FOLDER`"
)
UNTRAINED = (
    "preprocessing, network and images not checked: it cannot be told, for its batch norms are as "
    "they are initialised, mean 0 and variance 1; if it was trained, load the trained weights"
)


@dataclass(frozen=True)
class Normalization:
    """A mean, std and colour order, and how far the images are from training's under it.

    Attributes:
        name: What it is known as: ``ImageNet``.
        mean: On the 0..1 scale, in ``color_order``.
        std: Likewise.
        color_order: Of the channels that the network takes.
        misfit: Of the first batch norm's input to what it remembers, mean over its channels, each
            at most 1: 0 where they are alike, 0.5 where the means are a standard deviation apart.
    """

    name: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    color_order: ColorOrder
    misfit: float

    def __str__(self) -> str:
        return f"{self.name}, {self.color_order}" if len(self.mean) > 1 else self.name

    def flags_instead_of(self, other: Normalization) -> str:
        """What states this one on the command line where another is in use."""
        fields = (("--mean", self.mean, other.mean), ("--std", self.std, other.std))
        flags = [
            f"{flag} {','.join(f'{value:.6g}' for value in values)}"
            for flag, values, others in fields
            if values != others
        ]
        if self.color_order != other.color_order:
            flags.append(f"--color-order {self.color_order}")
        return " ".join(flags)


@dataclass(frozen=True)
class PreprocessingFit:
    """Whether mean, std and colour order are those of training.

    Attributes:
        verdict: ``fits``; ``other``: another one in use fits better; ``own``: none in use fits, and
            ``best`` was solved for.
        overwhelming: Whether the evidence is enough to replace what was only assumed.
        replaced: The fields that were replaced, for nobody had stated them.
        in_use: What was assumed or stated.
        best: What fits best; ``in_use`` itself where that fits.
        candidates: All that were tried, the best first.
        as_likely: What these images do not tell from ``best``.
        unlike: Where ``best`` is not overwhelming for the images are unlike training's even so,
            the mean divergence that shows it, over the first quarter of the batch norms.
    """

    verdict: Literal["fits", "other", "own"]
    overwhelming: bool
    replaced: tuple[str, ...]
    in_use: Normalization
    best: Normalization
    candidates: tuple[Normalization, ...]
    as_likely: tuple[Normalization, ...] = ()
    unlike: float | None = None

    @property
    def is_doubted(self) -> bool:
        """Whether what somebody stated is overwhelmingly not what the weights were trained on."""
        return self.verdict != "fits" and self.overwhelming and not self.replaced

    def sentence(self, images: str) -> str:
        """What was found, in a line.

        Args:
            images: How many and which.
        """
        used, best = self.in_use, self.best
        if self.verdict == "fits":
            measured = f"(misfit {used.misfit:.2g} on {images})"
            return f"preprocessing fits: {used} {measured}{self._alternatives}"
        against = f"misfit {best.misfit:.2g}, against {used.misfit:.2g} of {used}"
        if self.replaced:
            return (
                f"preprocessing measured on {images}: {best} ({against}, which was only assumed)"
                f"{self._alternatives}"
            )
        if self.unlike is not None:
            return (
                f"preprocessing not sure: on {images} {best} is likelier than {used} ({against}), "
                f"but the images are unlike those of training with it too (mean "
                f"divergence {self.unlike:.2g} over the first quarter of the batch norms), so it "
                "replaces nothing; give images of the kind that the network was trained on"
            )
        if not self.overwhelming:
            return (
                f"preprocessing not sure: on {images} {best} is likelier than {used} (misfit "
                f"{best.misfit:.2g} and {used.misfit:.2g}), which is too little to go by; "
                "see to the input size and to what is said of the images, or take more of them"
            )
        return (
            f"preprocessing does not fit: on {images} {best} does better ({against}); if it was so "
            f"in training, {best.flags_instead_of(used)}{self._alternatives}"
        )

    @property
    def _alternatives(self) -> str:
        if not self.as_likely:
            return ""
        names = " and ".join(str(each) for each in self.as_likely)
        return f"; {names} would fit as well: these images do not tell them apart"


@dataclass(frozen=True)
class NormFit:
    """A batch norm.

    Attributes:
        layer: Its name, after the module tree.
        divergence: Of its input from what it remembers, median over channels.
    """

    layer: str
    divergence: float

    @property
    def module(self) -> str:
        """Its place in the module tree: the name without the operator."""
        return self.layer.rpartition("/")[0] or self.layer


@dataclass(frozen=True)
class NetworkFit:
    """Whether the weights were trained as the network that they are taken for.

    Attributes:
        verdict: ``fits``; ``wrong``: they were not; ``unclear``: they were not, or the images are
            unlike training's; ``untold``: too little is known, or the preprocessing does not fit.
        begins_at: The batch norm from which on they are another network's, or of ``unclear`` may
            be; None of another verdict, or where none can be named.
        evidence: Why, in a sentence.
    """

    verdict: Literal["fits", "wrong", "unclear", "untold"]
    begins_at: str | None
    evidence: str


@dataclass(frozen=True)
class ImageFinding:
    """Something about the images that will cost int8 or the comparison.

    Attributes:
        kind: What.
        evidence: What shows it, in a sentence.
        remedy: What to do.
    """

    kind: str
    evidence: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.evidence}; {self.remedy}"


WIDENED = 2.0
"""An int8 range is set by one image where it is this many times as wide as without it: a bit is
lost for all others."""


@dataclass(frozen=True)
class RangeFit:
    """An int8 range, and how the calibration images fill it.

    Attributes:
        tensor: Whose range it is; of those that share it, the first.
        clipped_pct: Share of the images' numbers that lie outside, 0 to 100.
        widest_image: The image that widens it most.
        widening: How many times as wide it is as without that image; 1 where others reach as far.
    """

    tensor: str
    clipped_pct: float
    widest_image: str
    widening: float


@dataclass(frozen=True)
class ImageFit:
    """The images held against what the batch norms remember.

    Attributes:
        images: How many; 0 where there were none.
        image_source: How many and which, in words.
        not_checked: What could not be told and why, a sentence each.
        preprocessing: None where it could not be told.
        network: None where it could not be told.
        layers: Every batch norm, in the graph's order.
        findings: About the images themselves.
        ranges: Every int8 range that was measured, in the graph's order.
        doubts: What ``--strict`` counts as missed, a sentence each.
    """

    images: int
    image_source: str
    not_checked: tuple[str, ...] = ()
    preprocessing: PreprocessingFit | None = None
    network: NetworkFit | None = None
    layers: tuple[NormFit, ...] = ()
    findings: tuple[ImageFinding, ...] = ()
    ranges: tuple[RangeFit, ...] = ()
    doubts: tuple[str, ...] = ()

    @property
    def worst(self) -> tuple[NormFit, ...]:
        """The batch norms, the farthest from what they remember first."""
        return tuple(sorted(self.layers, key=lambda layer: -layer.divergence))

    @property
    def lines(self) -> Iterator[str]:
        """All there is to say of it, a line each."""
        yield from self.not_checked
        if self.preprocessing is not None:
            yield self.preprocessing.sentence(self.image_source)
        if self.network is not None and self.network.verdict in ("wrong", "unclear"):
            yield self.network.evidence
        yield from map(str, self.findings)
