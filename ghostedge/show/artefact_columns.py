"""The columns of files that a conversion wrote: how each was checked."""

from __future__ import annotations

from ghostedge.formats.table import is_exact
from ghostedge.records.manifest import Artefact, Parity
from ghostedge.show.columns import LEFT, RIGHT, Column
from ghostedge.show.contents import Entry
from ghostedge.show.words import size_words


def _check_words(artefact: Artefact) -> str:
    """How far a file is from the one it was made from, and whether its budget allows it."""
    parity = artefact.parity
    if parity is None:
        raise ValueError(f"{artefact.file} was not checked")
    by_sense = not is_exact(artefact.format, artefact.precision)
    if parity.agreement_pct is None:
        likeness = _output_words(parity, by_noise=by_sense)
    elif by_sense:
        likeness = f"same top-1 {parity.agreement_pct:.2f} %, {_noise_words(parity.sqnr_db)}"
    else:
        likeness = f"logits {_difference_words(parity)}"
    return f"{'✓' if parity.within_budget else '✗'} {likeness} of {parity.reference}"


def _output_words(parity: Parity, *, by_noise: bool) -> str:
    """The noisiest output of a network that scores no classes; named where there are several."""
    worst = parity.worst
    if worst is None or not by_noise:
        return f"outputs {_difference_words(parity)}"
    named = len(parity.outputs) > 1 or str(worst) != worst.name
    return _noise_words(worst.counted_db) + (f" ({worst})" if named else "")


def _difference_words(parity: Parity) -> str:
    absolute = f"± {parity.max_abs_diff:.1e}"
    if not parity.max_relative_diff:
        return absolute
    return f"{absolute} (relative {parity.max_relative_diff:.1e})"


def _noise_words(sqnr_db: float | None) -> str:
    return "no difference" if sqnr_db is None else f"sqnr {sqnr_db:.1f} dB"


ARTEFACT = Column[Entry]("artefact", LEFT, lambda entry: entry.artefact and entry.artefact.file)
ZIPPED = Column[Entry](
    "zipped", RIGHT, lambda entry: entry.artefact and entry.artefact.zipped_bytes, size_words
)
CHECK = Column[Entry](
    "check against its source",
    LEFT,
    lambda entry: entry.artefact if entry.artefact and entry.artefact.parity else None,
    _check_words,
)
AGREEMENT = Column[Entry](
    "agrees with float",
    RIGHT,
    lambda entry: entry.artefact and entry.artefact.float_agreement_pct,
    lambda percents: f"{percents:.2f} %",
)
NOISE = Column[Entry](
    "sqnr to float",
    RIGHT,
    lambda entry: entry.artefact and entry.artefact.float_sqnr_db,
    lambda decibels: f"{decibels:.1f} dB",
)
SPEED_UP = Column[Entry](
    "vs float",
    RIGHT,
    lambda entry: entry.artefact and entry.artefact.speed_up,
    lambda times: f"{times:.2f}×",
)
