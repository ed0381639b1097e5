"""The GhostEdge metadata inside an ONNX model: one entry of ``metadata_props``."""

from __future__ import annotations

import onnx

from ghostedge_runtime.metadata import METADATA_KEY, ModelMetadata


def embed_onnx_metadata(model: onnx.ModelProto, metadata: ModelMetadata) -> onnx.ModelProto:
    """Return a copy of the model that carries the metadata, in place of any it had."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    kept = [entry for entry in model.metadata_props if entry.key != METADATA_KEY]
    del copy.metadata_props[:]
    copy.metadata_props.extend(kept)
    copy.metadata_props.add(key=METADATA_KEY, value=metadata.to_json())
    return copy


def read_onnx_metadata(model: onnx.ModelProto, *, where: str | None = None) -> ModelMetadata | None:
    """Read the metadata, or None where the model carries none.

    Args:
        model: Any ONNX model.
        where: The file it came from, for messages.

    Raises:
        ModelFileError: The entry is there but is not of the schema.
    """
    for entry in model.metadata_props:
        if entry.key == METADATA_KEY:
            return ModelMetadata.from_json(entry.value, where=where)
    return None
