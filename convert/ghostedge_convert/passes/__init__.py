"""Graph edits: one file, one edit, one public function; the computed function is unchanged."""

from __future__ import annotations

from ghostedge_convert.passes._infra import Pass, PassFailedError, PassNote, run_passes
from ghostedge_convert.passes.drop_noop_slice import drop_noop_slice
from ghostedge_convert.passes.fold_batch_norm import fold_batch_norm
from ghostedge_convert.passes.fold_constants import fold_constants
from ghostedge_convert.passes.fold_conv_bias import fold_conv_bias
from ghostedge_convert.passes.fold_hard_sigmoid_gate import fold_hard_sigmoid_gate
from ghostedge_convert.passes.remove_dead_nodes import remove_dead_nodes
from ghostedge_convert.passes.use_flatten import use_flatten
from ghostedge_convert.passes.use_gemm import use_gemm
from ghostedge_convert.passes.use_global_average_pool import use_global_average_pool

# Clean-up first, so that constants are initializers when the others look for them; biases before
# the gate, which wants a conv near before it; clean-up last for what the others left over.
DEPLOY_PASSES: tuple[Pass, ...] = (
    fold_constants,
    remove_dead_nodes,
    drop_noop_slice,
    fold_batch_norm,
    fold_conv_bias,
    fold_hard_sigmoid_gate,
    use_global_average_pool,
    use_flatten,
    use_gemm,
    remove_dead_nodes,
)

__all__ = [
    "DEPLOY_PASSES",
    "Pass",
    "PassFailedError",
    "PassNote",
    "drop_noop_slice",
    "fold_batch_norm",
    "fold_constants",
    "fold_conv_bias",
    "fold_hard_sigmoid_gate",
    "remove_dead_nodes",
    "run_passes",
    "use_flatten",
    "use_gemm",
    "use_global_average_pool",
]
