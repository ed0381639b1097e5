"""What the outputs of an exported network are called.

A network that returns a dict has named them; of one that returns a tuple only the places are known.
Names stated by the caller replace both. They are what every later file and the runtime show, so
they are settled here, once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import onnx
import onnx_ir as ir

from ghostedge_runtime.errors import InputError

SINGLE_OUTPUT = "logits"
RAW_INPUT = "image"
"""What int8 graphs call their input, which takes raw pixels."""
_UNNAMED = "output"


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

    A tensor that is an input too, or stands at two places, is copied, so that every output is a
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
