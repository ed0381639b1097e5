"""A batch norm that no convolution took up is a factor and a term per channel.

In this form the passes behind this one take it on: before a concat, into a convolution, or as a
convolution of its own. Computed in float64, so that the only rounding is the last one.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ghostedge_convert.passes.graph import (
    add_constant,
    bypass,
    constant,
    float_attr,
    insert_before,
    int_attr,
    nodes_of,
)
from ghostedge_convert.passes.run import PassNote


def spread_batch_norm(model: ir.Model) -> PassNote:
    """Write each BatchNormalization of constants as one Mul and one Add, in place."""
    spread = sum(_spread(model, norm) for norm in nodes_of(model, "BatchNormalization"))
    note = f"{spread} batch norms written as Mul and Add" if spread else "no batch norm left"
    return PassNote("spread_batch_norm", spread, note)


def _spread(model: ir.Model, norm: ir.Node) -> bool:
    source, parameters = norm.inputs[0], [constant(value) for value in norm.inputs[1:5]]
    if source is None or source.shape is None or int_attr(norm, "training_mode", 0):
        return False
    if any(parameter is None for parameter in parameters):
        return False
    gamma, beta, mean, var = (np.asarray(parameter, np.float64) for parameter in parameters)
    factor = gamma / np.sqrt(var + float_attr(norm, "epsilon", 1e-5))
    value = source
    for op, array in (("Mul", factor), ("Add", beta - mean * factor)):
        name = f"{norm.name}/{op}"
        column = array.astype(np.float32).reshape(-1, *[1] * (source.shape.rank() - 2))
        stored = add_constant(model, f"{name}:1", column)
        value = insert_before(model, norm, op, [value, stored], name).outputs[0]
    bypass(model, norm, value)
    return True
