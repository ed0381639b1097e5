"""Read the layers of whatever `ghostedge convert` builds a network of; needs its extra.

They are those of the deploy graph, batch norms folded: the function is the original's, and the
layers have the names they have in every file made from it.
"""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

from ghostedge.conversion.artefacts import deploy_graph
from ghostedge.conversion.options import ConvertOptions, PreprocessingOverrides
from ghostedge.conversion.sources import door_of
from ghostedge.features.onnx_tap import tap_model
from ghostedge.features.tap import Building, Tap
from ghostedge_runtime.metadata import Preprocessing


def open_by_door(path: Path, building: Building, preprocessing: Preprocessing | None) -> Tap:
    """Build a network.

    Args:
        path: What it is made of.
        building: How.
        preprocessing: Comes before what stands beside the file.

    Raises:
        InputError: It cannot be used.
    """
    options = ConvertOptions(
        model=path,
        output=path,
        ema=building.ema,
        key_prefix=building.key_prefix,
        arch=building.arch,
        unsafe_pickle=building.unsafe_pickle,
        factory=building.factory,
        factory_args=building.factory_args,
        preprocessing=_stated(building, preprocessing),
    )
    door = door_of(options)
    loaded = door.load(options)
    graph = deploy_graph(loaded, options)
    return tap_model(
        graph.model,
        graph.metadata,
        path,
        None,
        sha256=loaded.source.sha256,
        format_=door.kind,
    )


def _stated(building: Building, preprocessing: Preprocessing | None) -> PreprocessingOverrides:
    stated = PreprocessingOverrides()
    if preprocessing is not None:
        known = {field.name: getattr(preprocessing, field.name) for field in fields(stated)}
        stated = PreprocessingOverrides(**known)
    size = building.input_size
    return stated if size is None else replace(stated, input_size=size)
