"""The images held against what the network's batch norms remember, before anything is converted.

What nobody stated of mean, std and colour order is replaced where the evidence is overwhelming, and
said to be measured. What somebody stated is only doubted, as are size, crop, network and images. No
conversion fails for this: where it cannot be told, the reason is kept and said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import onnx

from ghostedge.console import StageClock
from ghostedge.conversion.images import ImageSet
from ghostedge.conversion.source import FloatSource, Source, field_words
from ghostedge.records.image_fit import (
    NO_IMAGES,
    NO_NORMS,
    UNTRAINED,
    WIDENED,
    ImageFinding,
    ImageFit,
    NetworkFit,
    Normalization,
    NormFit,
    PreprocessingFit,
    RangeFit,
)
from ghostedge.records.manifest import Inferred
from ghostedge_convert.sources.module import in_a_line
from ghostedge_convert.statistics.doctor import examine_images
from ghostedge_convert.statistics.early import early_norms
from ghostedge_convert.statistics.fault import name_fault
from ghostedge_convert.statistics.measure import NormStatistics, measure_norms, trained_norms
from ghostedge_convert.statistics.preprocessing import (
    PreprocessingFit as MeasuredPreprocessing,
)
from ghostedge_convert.statistics.preprocessing import (
    PreprocessingVerdict,
    judge_preprocessing,
)
from ghostedge_convert.statistics.stem import measure_stem
from ghostedge_convert.statistics.trials import ExaminedImages, Pixels
from ghostedge_quantize import Prepared
from ghostedge_runtime.errors import GhostEdgeError
from ghostedge_runtime.images import normalize
from ghostedge_runtime.metadata import Preprocessing

MOST_IMAGES = 64
"""More change no verdict and cost time."""
_FIELDS = ("mean", "std", "color_order")
_NO_DOUBTS = ("too few", "repeated", "input size")
"""Findings that say that too little is known, rather than that something is wrong."""
_UNFAMILIAR = ("unlike", "noisy", "blurred", "crop")
"""Findings that another input size than training's brings about too."""
_GREY = "order of colours not checked: the images have no colours"


def hold_images(
    source: Source, calibration: ImageSet | None, clock: StageClock
) -> tuple[Source, ImageFit]:
    """Hold the images of a conversion against its network, and say what that shows.

    Args:
        source: What is converted.
        calibration: The images of ``--calib``; without, those of ``--eval`` are taken.
        clock: Counts the time and is told of the outcome.

    Returns:
        The source, with the preprocessing that was measured where nobody stated one, and what was
        found.
    """
    images = images_to_hold(source, calibration)
    if images is None:
        fit = ImageFit(0, "none", not_checked=(NO_IMAGES,))
    elif not isinstance(source, FloatSource):
        fit = ImageFit(len(images), images.description, not_checked=(NO_NORMS,))
    else:
        with clock.stage("hold images against weights"):
            source, fit = fit_images(source, images)
    for line in fit.lines:
        clock.note(f"  {line}")
    return source, fit


def images_to_hold(source: Source, calibration: ImageSet | None) -> ImageSet | None:
    """At most ``MOST_IMAGES`` of ``--calib``, else of ``--eval``; None where there are neither."""
    if calibration is not None:
        images, flag = calibration, "--calib"
    elif source.evaluation is not None:
        images, flag = ImageSet(source.evaluation.paths, ""), "--eval"
    else:
        return None
    chosen = images.head(MOST_IMAGES)
    return replace(chosen, description=f"{len(chosen)} images of {flag}")


@dataclass(frozen=True)
class _Held:
    """What is held against what, and what was found so far.

    Attributes:
        network: The exported graph, with its batch norms.
        source: What it was exported from.
        images: Held against it.
        fit: What was found.
        statistics: What the images bring to every batch norm, once that is measured.
        decoded: The images by how they were prepared, each way once.
    """

    network: onnx.ModelProto
    source: FloatSource
    images: ImageSet
    fit: ImageFit
    statistics: NormStatistics | None = None
    decoded: dict[Preprocessing, list[Pixels]] = field(default_factory=dict, repr=False)

    def pixels(self, preprocessing: Preprocessing) -> list[Pixels]:
        """The images prepared, uint8 (height, width, channels) each."""
        if preprocessing not in self.decoded:
            self.decoded[preprocessing] = self.images.prepared(preprocessing)
        return self.decoded[preprocessing]


def fit_images(source: FloatSource, images: ImageSet) -> tuple[FloatSource, ImageFit]:
    """Hold images against a network's batch norms.

    Returns:
        The source, which keeps what was exported for this, with the preprocessing that was measured
        where nobody stated one; and what was found, and what could not be and why.
    """
    fit = ImageFit(len(images), images.description)
    try:
        network = source.exported or source.network.to_onnx(batch=source.batch)
    except Exception as error:  # the stage that exports says so again, and is to
        return source, _without(fit, "preprocessing, network and images", error)
    source = replace(source, exported=network)
    if not trained_norms(network):
        has_norms = any(node.op_type == "BatchNormalization" for node in network.graph.node)
        return source, replace(fit, not_checked=(UNTRAINED if has_norms else NO_NORMS,))
    held = _Held(network, source, images, fit)
    for what, step in _STEPS.items():
        held = _attempted(what, step, held)
    fit = _with_size_suspected(held)
    return held.source, replace(fit, doubts=tuple(_doubts(fit)))


def _with_size_suspected(held: _Held) -> ImageFit:
    """What was found, with the input size before all else where nothing fits and it was assumed."""
    fit = held.fit
    if "input_size" not in held.source.assumed or not _is_unfamiliar(fit):
        return fit
    height, width = held.source.preprocessing.input_size
    suspected = ImageFinding(
        "input size",
        f"the input size of {height}×{width} was only assumed, and is the first suspect where "
        "images do not fit",
        "state that of training: --input-size SIZE, or a config.json beside MODEL",
    )
    return replace(fit, findings=(suspected, *fit.findings))


def _is_unfamiliar(fit: ImageFit) -> bool:
    """Whether the images are unlike training's under any preprocessing, or it cannot be told."""
    unsure = fit.preprocessing is not None and (
        fit.preprocessing.verdict != "fits" and not fit.preprocessing.overwhelming
    )
    unclear = fit.network is not None and fit.network.verdict in ("unclear", "untold")
    return unsure or unclear or any(each.kind in _UNFAMILIAR for each in fit.findings)


def _attempted(what: str, step: Callable[[_Held], _Held], held: _Held) -> _Held:
    try:
        return step(held)
    except Exception as error:  # whatever it is, the conversion goes on without this
        return replace(held, fit=_without(held.fit, what, error))


def _without(fit: ImageFit, what: str, error: Exception) -> ImageFit:
    reason = f"{what} not checked: {in_a_line(error)}"
    if not isinstance(error, GhostEdgeError):
        reason += " (a fault of GhostEdge, not of your input; the files do not depend on it)"
    return replace(fit, not_checked=(*fit.not_checked, reason))


def _judge_preprocessing(held: _Held) -> _Held:
    """Whether mean, std and colour order are training's; what nobody stated of them is replaced."""
    in_rgb = replace(held.source.preprocessing, color_order="RGB")
    pixels = held.pixels(in_rgb)
    stem = measure_stem(held.network, [np.stack(pixels)])
    if stem is None:
        reason = (
            "preprocessing not checked: what comes before the first batch norm is no convolution "
            "of the image alone, so it cannot be told"
        )
        return replace(held, fit=replace(held.fit, not_checked=(reason,)))
    early = early_norms(held.network, pixels)
    verdict = judge_preprocessing(stem, held.source.preprocessing, early)
    source, preprocessing = _settled(held.source, verdict)
    not_checked = (_GREY,) if stem.is_grey else ()
    fit = replace(held.fit, preprocessing=preprocessing, not_checked=not_checked)
    return replace(held, source=source, fit=fit)


def _measure(held: _Held) -> _Held:
    """What the images bring to every batch norm, and whether the weights are the network's."""
    preprocessing = held.source.preprocessing
    batches = [
        np.ascontiguousarray(normalize(pixels, preprocessing).transpose(0, 3, 1, 2))
        for pixels in _batches(held.pixels(preprocessing), held.source.batch)
    ]
    statistics = measure_norms(held.network, batches)
    if statistics is None:
        raise ValueError("batch norms that were trained are not measured")
    layers = tuple(NormFit(*layer) for layer in statistics.divergences().items())
    judged = name_fault(held.network, np.concatenate(batches), statistics)
    network = NetworkFit(judged.verdict, judged.begins, judged.evidence)
    fit = replace(held.fit, layers=layers, network=network)
    return replace(held, statistics=statistics, fit=fit)


def _examine(held: _Held) -> _Held:
    """What is wrong with the images themselves."""
    if held.statistics is None:  # and it was said why
        return held
    preprocessing = held.source.preprocessing
    pixels = tuple(held.pixels(preprocessing))
    findings = examine_images(
        held.network,
        ExaminedImages(tuple(held.images.sources), pixels, preprocessing),
        held.statistics,
        is_network_known=not _speaks_against_network(held.fit),
        is_classifier=held.source.classes is not None,
    )
    listed = tuple(ImageFinding(each.kind, each.evidence, each.remedy) for each in findings)
    return replace(held, fit=replace(held.fit, findings=listed))


def _speaks_against_network(fit: ImageFit) -> bool:
    """Whether images cannot be told from training's, for preprocessing or network is another."""
    preprocessing = fit.preprocessing
    differs = preprocessing is not None and (
        preprocessing.verdict != "fits" and not preprocessing.replaced
    )
    return differs or (fit.network is not None and fit.network.verdict == "wrong")


_STEPS: dict[str, Callable[[_Held], _Held]] = {
    "preprocessing": _judge_preprocessing,
    "network": _measure,
    "images": _examine,
}
"""What is found out, in order; one that fails costs its own answer."""


def _doubts(fit: ImageFit) -> Iterator[str]:
    """What speaks against preprocessing, network or images, a sentence each."""
    if fit.preprocessing is not None and fit.preprocessing.is_doubted:
        yield fit.preprocessing.sentence(fit.image_source)
    if fit.network is not None and fit.network.verdict == "wrong":
        yield fit.network.evidence
    yield from (str(finding) for finding in fit.findings if finding.kind not in _NO_DOUBTS)


def _batches(pixels: Sequence[Pixels], size: int) -> Iterator[Pixels]:
    """Prepared images in batches of at most ``size``, uint8 (N, height, width, channels)."""
    for start in range(0, len(pixels), size):
        yield np.stack(pixels[start : start + size])


def _settled(
    source: FloatSource, verdict: PreprocessingVerdict
) -> tuple[FloatSource, PreprocessingFit]:
    """The source with what was measured in the place of what nobody stated, and the verdict."""
    best, used = verdict.best, source.preprocessing
    fits = verdict.verdict == "fits"
    changed = [name for name in _FIELDS if getattr(best, name) != getattr(used, name)]
    replaces = not fits and verdict.overwhelming and source.assumed.issuperset(changed)
    in_use = replace(
        _normalization(verdict.in_use),
        mean=used.mean,
        std=used.std,
        color_order=used.color_order,
    )
    fit = PreprocessingFit(
        verdict=verdict.verdict,
        overwhelming=verdict.overwhelming,
        replaced=tuple(changed) if replaces else (),
        in_use=in_use,
        best=in_use if fits else _normalization(best),
        candidates=tuple(map(_normalization, verdict.tried)),
        as_likely=tuple(map(_normalization, verdict.as_likely)),
        unlike=verdict.unlike,
    )
    if not replaces:
        return source, fit
    preprocessing = replace(used, **{name: getattr(best, name) for name in changed})
    evidence = (
        f"measured on {verdict.images} images: misfit {fit.best.misfit:.2g}, against "
        f"{fit.in_use.misfit:.2g}"
    )
    facts = _measured_facts(source, preprocessing, evidence)
    return replace(source, preprocessing=preprocessing, inferred=facts), fit


def _normalization(tried: MeasuredPreprocessing) -> Normalization:
    return Normalization(tried.name, tried.mean, tried.std, tried.color_order, tried.misfit)


def _measured_facts(
    source: FloatSource, preprocessing: Preprocessing, evidence: str
) -> tuple[Inferred, ...]:
    """The source's facts, with the fields that were replaced and what speaks for that."""
    before, after = (
        {"color_order": each.color_order} | field_words(each)
        for each in (source.preprocessing, preprocessing)
    )
    measured = {
        name: Inferred(name, after[name], f"{evidence} of the assumed {before[name]}")
        for name in _FIELDS
        if after[name] != before[name]
    }
    facts = [measured.pop(fact.name, fact) for fact in source.inferred]
    place = 1 + max((i for i, fact in enumerate(facts) if fact.name in _FIELDS), default=-1)
    return (*facts[:place], *measured.values(), *facts[place:])


_RANGES_PCT = 10.0
"""An image is named where it sets at least this share of the ranges."""
_CLIPPED_PCT = 1.0
"""A range clips too much from this share of its numbers on."""
_NAMED = 3


def with_ranges(fit: ImageFit, prepared: Prepared | None, images: ImageSet | None) -> ImageFit:
    """What was found of the images, with what calibration showed of them."""
    if prepared is None or images is None:
        return fit
    ranges = range_fits(prepared, images)
    return replace(fit, ranges=ranges, findings=(*fit.findings, *range_findings(ranges)))


def range_fits(prepared: Prepared, images: ImageSet) -> tuple[RangeFit, ...]:
    """Every measured range, in the graph's order, with the image that widens it most."""
    return tuple(
        RangeFit(use.tensor, 100 * use.clipped, _file_name(images, use.image), use.widening)
        for use in prepared.ranges.uses
    )


def range_findings(ranges: Sequence[RangeFit]) -> Iterator[ImageFinding]:
    """What is wrong with the images by the ranges that they set."""
    set_alone = [use for use in ranges if use.widening >= WIDENED]
    for image, count in Counter(use.widest_image for use in set_alone).most_common():
        if 100 * count >= _RANGES_PCT * len(ranges):
            own = [use for use in set_alone if use.widest_image == image]
            worst = max(own, key=lambda use: use.widening)
            yield ImageFinding(
                "one image",
                f"{image} alone sets {count} of {len(ranges)} int8 ranges; {worst.tensor} is "
                f"{worst.widening:.1f} times as wide as the others need",
                "look at it: if it is not typical, take it out; if it is, add more of its kind",
            )
    clipping = sorted(
        (use for use in ranges if use.clipped_pct >= _CLIPPED_PCT), key=lambda use: -use.clipped_pct
    )
    if clipping:
        named = ", ".join(f"{use.tensor} {use.clipped_pct:.1f} %" for use in clipping[:_NAMED])
        yield ImageFinding(
            "saturates",
            f"{len(clipping)} of {len(ranges)} int8 ranges clip {_CLIPPED_PCT:g} % or more of the "
            f"images' numbers: {named}",
            "compare --ranges minmax, which clips nothing",
        )


def _file_name(images: ImageSet, place: int) -> str:
    """The file's name; a batch that was filled up repeats the last image."""
    source = images.sources[min(place, len(images) - 1)]
    return source.name if isinstance(source, Path) else f"image {place}"
