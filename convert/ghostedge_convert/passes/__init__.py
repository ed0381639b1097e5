"""Graph edits: one file, one edit, one public function; the computed function is unchanged."""

from __future__ import annotations

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
from ghostedge_convert.passes.join_reshapes import join_reshapes
from ghostedge_convert.passes.remove_dead_nodes import remove_dead_nodes
from ghostedge_convert.passes.run import Pass, PassFailedError, PassNote, run_passes
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

# Clean-up first, so that constants are initializers when the others look for them; then the axis
# order, so that all others find images channels first; arithmetic and biases before the gate, which
# wants a conv near before it; clean-up last for what the others left over.
DEPLOY_PASSES: tuple[Pass, ...] = (
    fold_constants,
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

__all__ = [
    "DEPLOY_PASSES",
    "Pass",
    "PassFailedError",
    "PassNote",
    "cancel_transposes",
    "drop_expand",
    "drop_noop_slice",
    "fold_batch_norm",
    "fold_constants",
    "fold_conv_bias",
    "fold_conv_scale",
    "fold_crop",
    "fold_gemm_scale",
    "fold_hard_sigmoid_gate",
    "fold_pad",
    "fold_transpose_into_gemm",
    "join_constant_arithmetic",
    "join_reshapes",
    "remove_dead_nodes",
    "run_passes",
    "split_scale_at_concat",
    "split_transposed_conv",
    "spread_batch_norm",
    "spread_group_norm",
    "use_activations",
    "use_add",
    "use_block_first",
    "use_channelwise_conv",
    "use_flatten",
    "use_gemm",
    "use_global_average_pool",
    "use_max_pool",
    "use_nearest_resize",
    "use_pointwise_conv",
]
