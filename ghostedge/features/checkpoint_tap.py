"""Read the layers of a checkpoint; needs the ``convert`` extra.

They are those of the deploy graph, batch norms folded: the function is the checkpoint's, and the
layers have the names they have in every file made from it.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from ghostedge.conversion.artefacts import deploy_graph
from ghostedge.conversion.load import load
from ghostedge.conversion.options import ConvertOptions, PreprocessingOverrides
from ghostedge.features.onnx_tap import tap_model
from ghostedge.features.tap import Tap
from ghostedge_runtime.metadata import Preprocessing


def open_checkpoint(path: Path, *, ema: bool, preprocessing: Preprocessing | None) -> Tap:
    """Build a checkpoint's network.

    Args:
        path: The file.
        ema: Take the averaged weights.
        preprocessing: Comes before what stands beside the file.

    Raises:
        InputError: It cannot be used.
    """
    stated = PreprocessingOverrides()
    if preprocessing is not None:
        known = {field.name: getattr(preprocessing, field.name) for field in fields(stated)}
        stated = PreprocessingOverrides(**known)
    options = ConvertOptions(model=path, output=path, ema=ema, preprocessing=stated)
    loaded = load(options)
    graph = deploy_graph(loaded, options)
    return tap_model(
        graph.model,
        graph.metadata,
        path,
        None,
        sha256=loaded.source.sha256,
        format_="checkpoint",
    )
