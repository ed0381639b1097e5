"""Names for an exported graph: of its outputs, its nodes and its tensors.

Errors, quantization reports and TFLite tensors refer to nodes by these names, so they come from the
module tree (``blocks.3.0.se/Mul``) rather than from the exporter's counters (``mul_2``), and stay
the same from one export, width or version of torch to the next. Weights keep their ``state_dict``
keys, which the exporter already gives them.

Outputs are named by the dict that the network returns or, of a tuple, by their places; names stated
by the caller replace both. Every later file and the runtime show them, so they are settled here.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import ClearMetadataAndDocStringPass

from ghostedge_convert.passes.graph import bias_name, free_name
from ghostedge_runtime.errors import InputError

SINGLE_OUTPUT = "logits"
RAW_INPUT = "image"
"""What int8 graphs call their input, which takes raw pixels."""
_UNNAMED = "output"
# Where torch's exporter writes the path of modules that led to a node, outermost first; the last
# entry is the traced call itself.
_SCOPES_KEY = "pkg.torch.onnx.name_scopes"


def names_of(structure: Any) -> tuple[str, ...]:
    """Names for the leaves of what a module returns, in the order they come.

    Args:
        structure: Dicts, tuples, named tuples and lists, one in another, with anything as leaves.

    Returns:
        A dict's keys and a named tuple's fields as they are, other places by their number:
        ``output_0``, ``features_1``. A single leaf outside any container is ``logits``.
    """
    if _children(structure) is None:
        return (SINGLE_OUTPUT,)
    named = isinstance(structure, Mapping) or hasattr(structure, "_fields")
    prefix = () if named else (_UNNAMED,)
    return tuple("_".join((*prefix, *path)) for path in _leaves(structure))


def _leaves(structure: Any) -> Iterator[tuple[str, ...]]:
    children = _children(structure)
    if children is None:
        yield ()
        return
    for key, child in children:
        for path in _leaves(child):
            yield (key, *path)


def _children(structure: Any) -> list[tuple[str, Any]] | None:
    """Key and value of each entry of a container, None for a leaf."""
    if isinstance(structure, Mapping):
        return [(str(key), value) for key, value in structure.items()]
    if isinstance(structure, tuple) and hasattr(structure, "_fields"):
        return list(zip(structure._fields, structure, strict=True))
    if isinstance(structure, (tuple, list)):
        return [(str(index), value) for index, value in enumerate(structure)]
    return None


def check_names(names: Sequence[str], count: int, source: str) -> None:
    """Refuse names that do not fit a network's outputs.

    Args:
        names: One for each output.
        count: How many outputs there are.
        source: The name of the graph's input.

    Raises:
        InputError: Their number is another, or one is empty, taken or there twice.
    """
    if len(names) != count:
        raise InputError(
            f"{len(names)} names for {count} outputs: {', '.join(names)}",
            where="--output-names",
            remedy=f"give {count}, in the order in which the network returns them",
        )
    reserved = (source, RAW_INPUT)
    for name in names:
        if not name.strip() or name in reserved or names.count(name) > 1:
            raise InputError(
                f"an output cannot be called {name!r}",
                where="--output-names",
                remedy="give each output a name of its own, not empty and other than "
                + " and ".join(map(repr, dict.fromkeys(reserved))),
            )


def name_outputs(model: ir.Model, names: Sequence[str]) -> None:
    """Give a graph's outputs their names, in place.

    A tensor that is an input too, or is at two places, is copied, so that every output is a
    tensor of its own.
    """
    graph = model.graph
    seen: set[int] = {id(value) for value in graph.inputs}
    for index, (value, name) in enumerate(zip(list(graph.outputs), names, strict=True)):
        if id(value) in seen:
            copy = ir.Node("", "Identity", [value], name=f"{name}/Identity")
            copy.outputs[0].type, copy.outputs[0].shape = value.type, value.shape
            graph.append(copy)
            graph.outputs[index] = copy.outputs[0]
        graph.outputs[index].name = name
        seen.add(id(graph.outputs[index]))


def rename_outputs(model: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    """A copy of a model with its outputs called otherwise.

    Args:
        model: Of one input; it is not changed.
        names: One for each output, in the model's order.

    Raises:
        InputError: Their number is another, or one is empty, taken or there twice.
    """
    check_names(names, len(model.graph.output), model.graph.input[0].name)
    renamed = ir.from_proto(model)
    name_outputs(renamed, names)
    return ir.to_proto(renamed)


def name_by_module(model: ir.Model) -> None:
    """Rename each node ``module path/OpType`` and its outputs alike, in place.

    A second node of the same path and type gets ``_2``, a third ``_3``, in graph order. Names of
    the graph's own inputs and outputs are kept. A node of unknown origin is named after the module
    that its weight belongs to, and one without weights by its type.
    """
    interface = {value.name for value in (*model.graph.inputs, *model.graph.outputs)}
    seen: Counter[str] = Counter()
    for node in model.graph:
        path = module_path(node) or _owner_of_weights(node)
        base = f"{path}/{node.op_type}" if path else node.op_type
        seen[base] += 1
        node.name = base if seen[base] == 1 else f"{base}_{seen[base]}"
        for index, value in enumerate(node.outputs):
            if value.name not in interface:
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
