"""The exported graph becomes the deploy graph: the same function, written for a device.

For a GhostNet only Conv, Relu, Clip, Add, Mul, Concat, GlobalAveragePool, Flatten and Gemm remain.
Int8 is made of that graph. Float files are written of what `with_split_modules` makes of it, which
is faster in float alone.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial, update_wrapper

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import NameFixPass, ShapeInferencePass

from ghostedge_convert.passes.cancel_transposes import cancel_transposes
from ghostedge_convert.passes.drop_expand import drop_expand
from ghostedge_convert.passes.drop_noop_slice import drop_noop_slice
from ghostedge_convert.passes.fold_batch_norm import fold_batch_norm
from ghostedge_convert.passes.fold_constants import fold_constants
from ghostedge_convert.passes.fold_conv_bias import fold_conv_bias
from ghostedge_convert.passes.fold_conv_scale import fold_conv_scale
from ghostedge_convert.passes.fold_crop import fold_crop
from ghostedge_convert.passes.fold_gemm_scale import fold_gemm_scale
from ghostedge_convert.passes.fold_hard_sigmoid_gate import fold_hard_sigmoid_gate
from ghostedge_convert.passes.fold_pad import fold_pad
from ghostedge_convert.passes.fold_transpose_into_gemm import fold_transpose_into_gemm
from ghostedge_convert.passes.join_constant_arithmetic import join_constant_arithmetic
from ghostedge_convert.passes.join_ghost_modules import join_ghost_modules
from ghostedge_convert.passes.join_reshapes import join_reshapes
from ghostedge_convert.passes.remove_dead_nodes import remove_dead_nodes
from ghostedge_convert.passes.run import Pass, PassNote, run_passes
from ghostedge_convert.passes.split_ghost_modules import (
    split_ghost_modules,
    splittable,
    unsplit_name,
)
from ghostedge_convert.passes.split_scale_at_concat import split_scale_at_concat
from ghostedge_convert.passes.split_transposed_conv import split_transposed_conv
from ghostedge_convert.passes.spread_batch_norm import spread_batch_norm
from ghostedge_convert.passes.spread_group_norm import spread_group_norm
from ghostedge_convert.passes.use_activations import use_activations
from ghostedge_convert.passes.use_add import use_add
from ghostedge_convert.passes.use_block_first import use_block_first
from ghostedge_convert.passes.use_channelwise_conv import use_channelwise_conv
from ghostedge_convert.passes.use_flatten import use_flatten
from ghostedge_convert.passes.use_gemm import use_gemm
from ghostedge_convert.passes.use_global_average_pool import use_global_average_pool
from ghostedge_convert.passes.use_max_pool import use_max_pool
from ghostedge_convert.passes.use_nearest_resize import use_nearest_resize
from ghostedge_convert.passes.use_pointwise_conv import use_pointwise_conv
from ghostedge_runtime.errors import ModelFileError

# The order matters. Clean-up comes first, so that the other passes find constants as initializers,
# with our own float files joined as they were; then the axis order, so that they find images
# channels first. Arithmetic and biases are folded before the gate, whose pattern begins at a
# convolution. The last clean-up removes what the others left without a reader.
DEPLOY_PASSES: tuple[Pass, ...] = (
    fold_constants,
    join_ghost_modules,
    spread_group_norm,
    remove_dead_nodes,
    drop_expand,
    drop_noop_slice,
    use_add,
    use_activations,
    use_pointwise_conv,
    use_nearest_resize,
    cancel_transposes,
    fold_pad,
    fold_crop,
    fold_batch_norm,
    spread_batch_norm,
    join_constant_arithmetic,
    split_scale_at_concat,
    fold_conv_scale,
    fold_conv_bias,
    split_transposed_conv,
    use_block_first,
    fold_hard_sigmoid_gate,
    use_global_average_pool,
    use_max_pool,
    join_reshapes,
    use_flatten,
    use_gemm,
    fold_gemm_scale,
    fold_transpose_into_gemm,
    use_channelwise_conv,
    remove_dead_nodes,
)


@dataclass(frozen=True)
class DeployResult:
    """A deploy graph and what was done to get it.

    Attributes:
        model: The graph, batch norm folded and simplified; the input model is untouched.
        applied: A note of each pass, in the order they ran.
    """

    model: onnx.ModelProto
    applied: tuple[PassNote, ...]


def to_deploy_graph(model: onnx.ModelProto) -> DeployResult:
    """Run the passes over a copy of a float model.

    Args:
        model: Any valid ONNX model; names and metadata are kept.

    Returns:
        The deploy graph with the shape of every tensor inside, checked in full by onnx.

    Raises:
        ModelFileError: The model is not valid ONNX.
        PassFailedError: A pass failed, which is a fault of ours.
    """
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise ModelFileError(
            f"it is not a valid ONNX model ({error})",
            where=model.graph.name or "model",
            remedy="export it again",
        ) from error
    return _edited(model, DEPLOY_PASSES)


def with_split_modules(model: onnx.ModelProto, only: Collection[str] | None = None) -> DeployResult:
    """Compute ghost modules in halves, which float files are faster with.

    Args:
        model: A deploy graph, or one made of it; it is untouched.
        only: Names of the concats that become sums; default those of `splittable_modules`.

    Returns:
        The same function, but for the order of float additions.
    """
    step = partial(split_ghost_modules, only=only)
    return _edited(model, (update_wrapper(step, split_ghost_modules),), keep_order=True)


def with_joined_modules(model: onnx.ModelProto) -> onnx.ModelProto:
    """What `with_split_modules` was given, to the byte, from what it gave, be it read from a file.

    A file whose weights are decoded from float16 or int8 stays as it is.
    """
    return _edited(model, (join_ghost_modules,), keep_order=True).model


def splittable_modules(model: onnx.ModelProto) -> tuple[str, ...]:
    """Names of the Concat nodes that `with_split_modules` can do without, in the graph's order."""
    return splittable(ir.from_proto(model))


def _edited(
    model: onnx.ModelProto, passes: Sequence[Pass], *, keep_order: bool = False
) -> DeployResult:
    """Run passes over a copy; constants in the order of those that they were made of, if asked."""
    graph = ir.from_proto(model)
    ShapeInferencePass()(graph)
    applied = run_passes(graph, passes)
    NameFixPass()(graph)
    ShapeInferencePass()(graph)
    if keep_order:
        _order_constants(graph, [tensor.name for tensor in model.graph.initializer])
    proto = ir.to_proto(graph)
    onnx.checker.check_model(proto, full_check=True)
    return DeployResult(proto, applied)


def _order_constants(graph: ir.Model, names: Sequence[str]) -> None:
    """Put constants where the ones they are halves or wholes of stood; new ones last."""
    places = {unsplit_name(name): place for place, name in reversed([*enumerate(names)])}
    values = dict(graph.graph.initializers)
    graph.graph.initializers.clear()
    for name in sorted(values, key=lambda name: places.get(unsplit_name(name), len(names))):
        graph.graph.initializers[name] = values[name]
