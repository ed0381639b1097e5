"""What requantizing cost, tensor by tensor, in words for the report and the manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

from ghostedge_convert import Loss, Requantized

Array = npt.NDArray[np.float32]
_ERRORS_ONLY = 3


def losses(
    source: onnx.ModelProto,
    changes: Sequence[Requantized],
    batches: Sequence[npt.NDArray[np.generic]],
) -> tuple[Loss, ...]:
    """The loss of each change: of constants as known, of activations measured on images.

    Args:
        source: The model whose activations they were, before the change.
        changes: What was requantized.
        batches: Inputs of the source.
    """
    watched = [change.tensor for change in changes if change.loss is None]
    seen = _watch(source, list(dict.fromkeys(watched)), batches)
    return tuple(c.loss or c.loss_on(seen[c.tensor]) for c in changes)


def _watch(
    source: onnx.ModelProto, names: Sequence[str], batches: Sequence[npt.NDArray[np.generic]]
) -> Mapping[str, list[Array]]:
    """Real activations of the source, by name, a batch each."""
    if not names:
        return {}
    tapped = onnx.ModelProto()
    tapped.CopyFrom(source)
    del tapped.graph.output[:]
    tapped.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names
    )
    options = ort.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    session = ort.InferenceSession(
        tapped.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    feed = session.get_inputs()[0].name
    rows = [session.run(list(names), {feed: batch}) for batch in batches]
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))


def loss_words(change: Requantized, loss: Loss) -> str:
    """One line: what was requantized, why, and how far it now is from the source."""
    return (
        f"requantized {change.tensor!r} (node {change.node!r}: {change.reason}): "
        f"largest difference {loss.max_abs:.3g}, mean square {loss.mean_square:.3g}"
    )
