"""Names a person can follow, for the nodes and tensors of an exported graph.

Errors, quantization reports and TFLite tensors are told apart by these names, so they come from
the module tree (``blocks.3.0.se/Mul``) rather than from the exporter's counters (``mul_2``), and
stay the same from one export, width or version of torch to the next. Weights keep their
``state_dict`` keys, which the exporter already gives them.
"""

from __future__ import annotations

import ast
from collections import Counter

import onnx_ir as ir
from onnx_ir.passes.common import ClearMetadataAndDocStringPass

from ghostedge_convert.passes.graph import bias_name, free_name

# Where torch's exporter writes the path of modules that led to a node, outermost first; the last
# entry is the traced call itself.
_SCOPES_KEY = "pkg.torch.onnx.name_scopes"


def name_by_module(model: ir.Model) -> None:
    """Rename each node ``module path/OpType`` and its outputs alike, in place.

    A second node of the same path and type gets ``_2``, a third ``_3``, in graph order. Names of
    the graph's own inputs and outputs are kept. A node of unknown origin is named after the module
    that its weight belongs to, and one without weights by its type.
    """
    kept = {value.name for value in (*model.graph.inputs, *model.graph.outputs)}
    seen: Counter[str] = Counter()
    for node in model.graph:
        path = module_path(node) or _owner_of_weights(node)
        base = f"{path}/{node.op_type}" if path else node.op_type
        seen[base] += 1
        node.name = base if seen[base] == 1 else f"{base}_{seen[base]}"
        for index, value in enumerate(node.outputs):
            if value.name not in kept:
                value.name = node.name if index == 0 else f"{node.name}:{index}"


def name_constants(model: ir.Model) -> None:
    """Rename each initializer that has no name of its own after its first user, in place.

    A name of its own is one that holds a dot, as ``state_dict`` keys of submodules do; the
    exporter's are ``val_17``. A conv's bias is named like its weight, anything else
    ``node name:input index``, with ``input`` before the index where an output has that name.
    """
    for value in list(model.graph.initializers.values()):
        uses = list(value.uses())
        if uses and "." not in (value.name or ""):
            node, index = uses[0].node, uses[0].idx
            is_bias = node.op_type == "Conv" and index == 2
            place = f"input{index}" if 0 < index < len(node.outputs) else str(index)
            name = bias_name(node) if is_bias else f"{node.name}:{place}"
            # The bias that the exporter gives a module without one is of each call of its own.
            value.name = free_name(model, name)


def strip_origin(model: ir.Model) -> None:
    """Drop doc strings and metadata, which hold stack traces and paths of this machine."""
    ClearMetadataAndDocStringPass()(model)
    graph = model.graph
    values = [*graph.inputs, *graph.initializers.values()]
    values += [value for node in graph for value in node.outputs]
    for value in values:
        value.metadata_props.clear()
        value.doc_string = None


def _owner_of_weights(node: ir.Node) -> str:
    """``blocks.0.conv`` of ``blocks.0.conv.weight``; the empty string where there is none."""
    names = (
        value.name or "" for value in node.inputs if value is not None and value.is_initializer()
    )
    return next((name.rpartition(".")[0] for name in names if "." in name), "")


def module_path(node: ir.Node) -> str:
    """Path of the module whose ``forward`` made the node, or the empty string at the root."""
    scopes = node.metadata_props.get(_SCOPES_KEY)
    if scopes is None:
        return ""
    modules = ast.literal_eval(scopes)[:-1]
    return str(modules[-1]) if modules else ""
