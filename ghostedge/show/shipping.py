"""Which file of a conversion to ship on the machine that timed it, and why.

Int8 is not always the faster: kernels differ by processor and runtime. Only files that keep their
budgets are advised; a difference that the intervals of the two medians do not part is called none.
"""

from __future__ import annotations

from collections.abc import Iterator

from ghostedge.records.manifest import Artefact, Manifest
from ghostedge.show.result_columns import percents
from ghostedge.show.words import ms, size_words
from ghostedge_runtime.record import Estimate


def shipping_sentences(manifest: Manifest) -> Iterator[str]:
    """The fastest file that may be shipped, then each int8 file that is not faster than float.

    Nothing is said of files that were not timed.
    """
    timed = {artefact.file: p50 for artefact in manifest.artefacts if (p50 := _p50(artefact))}
    usable = [a for a in manifest.artefacts if a.file in timed and _keeps_budgets(a, manifest)]
    if usable:
        yield _advice(min(usable, key=lambda artefact: timed[artefact.file].value), manifest)
    for artefact in manifest.artefacts:
        original = _float_file(artefact, manifest)
        if artefact.precision == "int8" and original is not None:
            yield from _slower(artefact, original)


def _advice(best: Artefact, manifest: Manifest) -> str:
    p50, original = _p50(best), _float_file(best, manifest)
    reasons = ["the fastest file that keeps its budget"]
    if p50 is not None:
        reasons.append(f"{ms(p50.value)} ms")
    if original is not None and best.speed_up is not None:
        reasons.append(f"{best.speed_up:.2f} times the speed of {original.file}")
    if best.accuracy is not None:
        reasons.append(f"top-1 {percents(best.accuracy.top1_pct)}")
    elif best.float_agreement_pct is not None:
        reasons.append(f"the float network's top-1 on {percents(best.float_agreement_pct)}")
    reasons.append(size_words(best.bytes))
    return f"to ship on this machine: {best.file} ({'; '.join(reasons)})"


def _slower(artefact: Artefact, original: Artefact) -> Iterator[str]:
    """That int8 is slower than float of the same format, or not shown to be faster."""
    mine, base = _p50(artefact), _p50(original)
    if mine is None or base is None or mine.high < base.low:
        return
    times = f"{base.value / mine.value:.2f} times its speed"
    is_slower = mine.low > base.high
    verdict = "is slower than" if is_slower else "is not shown to be faster than"
    use = f"of the two ship {original.file}" if is_slower else "what it saves is size"
    yield (
        f"{artefact.file} {verdict} {original.file} on this machine ({times}): {use} "
        f"({size_words(artefact.bytes)} against {size_words(original.bytes)})"
    )


def _keeps_budgets(artefact: Artefact, manifest: Manifest) -> bool:
    if artefact.parity is None or not artefact.parity.within_budget:
        return False
    return artefact.precision != "int8" or manifest.guard is None or manifest.guard.met


def _float_file(artefact: Artefact, manifest: Manifest) -> Artefact | None:
    """The float32 file of the same format; None of float32 itself and of a quantized MODEL."""
    for other in manifest.artefacts:
        if other.format == artefact.format and other.precision == "float32" != artefact.precision:
            return other
    return None


def _p50(artefact: Artefact) -> Estimate | None:
    return artefact.latency.p50_ms if artefact.latency else None
