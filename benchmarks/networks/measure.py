"""What a converted network differs by from torch, part by part, and what XNNPACK takes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
from ai_edge_litert.interpreter import Interpreter
from torch import nn

from ghostedge.conversion.outputs import OutputGap
from ghostedge.conversion.parts import output_parts
from ghostedge_convert import lower_to_tflite
from ghostedge_quantize import Int8Settings, prepare
from ghostedge_runtime.formats.tflite.delegation import delegation_of, interpreter_nodes
from ghostedge_runtime.record import Delegation

Floats = npt.NDArray[np.float32]
Outputs = Mapping[str, Floats]


@dataclass(frozen=True)
class Lowered:
    """What a ``.tflite`` file answers, channels first, and what XNNPACK took of it."""

    outputs: Outputs
    delegation: Delegation


def by_torch(module: nn.Module, images: Floats) -> Outputs:
    """A module's own outputs, by name; ``logits`` where there is one."""
    with torch.no_grad():
        values = module(torch.from_numpy(images))
    values = values if isinstance(values, dict) else {"logits": values}
    return {name: value.numpy() for name, value in values.items()}


def by_onnx_runtime(model: onnx.ModelProto, images: Floats) -> Outputs:
    """The outputs of a model for each image, joined."""
    session = onnxruntime.InferenceSession(model.SerializeToString())
    names = [output.name for output in session.get_outputs()]
    rows = [session.run(None, {"input": image[None]}) for image in images]
    columns = [np.concatenate(column) for column in zip(*rows, strict=True)]
    return dict(zip(names, columns, strict=True))


def by_tflite(model: onnx.ModelProto, images: Floats) -> Lowered:
    """The outputs of the lowered model for each image, joined."""
    lowered = lower_to_tflite(model)
    interpreter = Interpreter(model_content=bytes(lowered.data), num_threads=1)
    interpreter.allocate_tensors()
    (source,), ends = interpreter.get_input_details(), interpreter.get_output_details()
    rows = []
    for image in images:
        last = np.ascontiguousarray(image.transpose(1, 2, 0)[None])
        interpreter.set_tensor(source["index"], last)
        interpreter.invoke()
        rows.append([interpreter.get_tensor(end["index"]) for end in ends])
    outputs = {
        end["name"]: np.concatenate(column).transpose(
            np.argsort(lowered.output_layouts[end["name"]])
        )
        for end, column in zip(ends, zip(*rows, strict=True), strict=True)
    }
    return Lowered(outputs, delegation_of(interpreter_nodes(interpreter) or ()))


def int8(deploy: onnx.ModelProto, calibration: Floats) -> onnx.ModelProto:
    """The deploy graph in int8, float outputs, by the default settings."""
    batches = [image[None] for image in calibration]
    return prepare(deploy, batches, Int8Settings(), preprocessing=None).qdq()


def relative_difference(outputs: Outputs, wanted: Outputs) -> float:
    """The largest of any output, over its own largest number where that is above 1."""
    return max(
        float(np.abs(outputs[name] - values).max() / max(1, np.abs(values).max()))
        for name, values in wanted.items()
    )


def worst_part(deploy: onnx.ModelProto, outputs: Outputs, wanted: Outputs) -> tuple[float, str]:
    """The smallest signal-to-noise ratio in dB of what a concat joined or of a whole output.

    Args:
        deploy: The float graph, which says what was joined.
        outputs: Of the int8 file.
        wanted: Torch's.
    """
    ratios = []
    for name, parts in output_parts(deploy).items():
        gap = OutputGap.between(outputs[name], wanted[name], parts)
        part = gap.worst if parts.kind == "part" else None
        ratio = gap.whole.sqnr_db if part is None else part.sqnr_db
        ratios.append((np.inf if ratio is None else ratio, part.name if part else name))
    return min(ratios)
