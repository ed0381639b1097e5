"""Which channels of a graph can be rescaled, and which of them only together.

Dividing a channel by a number and multiplying it back where it is read leaves a network's function
unchanged. A convolution or dense layer takes both into its weights. What lies between hands the
number on: ReLU, pooling and resizing keep a channel's factor, a concat lines its inputs' up, a
slice takes some of them along, an addition needs one factor for both sides, a gate multiplies a
channel that keeps its own. So a factor belongs to a *class* of channels all over the graph: in a
ghost module a primary channel is one class in the cheap branch, behind the concat and in every
consumer of it; along residual additions a class runs through a whole stage. Class 0 cannot be
rescaled: inputs, outputs, and what goes through an op that passes no factor on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping

import numpy as np
import onnx_ir as ir

from ghostedge_quantize.graph.canonical import constant, int_attribute
from ghostedge_quantize.graph.ops import Channels, Role, row_of, rule_of
from ghostedge_quantize.graph.plan import name_of

FIXED = 0


class ChannelClasses:
    """The classes of a canonical graph's channels.

    Args:
        graph: The graph.
        part_scales: Multiplications by one number that may be changed (see ``part_scales``).

    Attributes:
        count: How many there are; class ``FIXED`` is the first.
        part_scales: The multiplications that may be changed.
    """

    def __init__(self, graph: ir.Graph, part_scales: Collection[str] = ()) -> None:
        self._parents = [FIXED]
        self._classes: dict[str, np.ndarray] = {}
        self.part_scales = part_scales
        for node in graph:
            if node.name in part_scales:
                self.new(node.outputs[0], alone=True)
            else:
                PASSING[row_of(node).channels](self, node)
        for output in graph.outputs:
            self.fix(output)
        roots = [self._root(one) for one in range(len(self._parents))]
        distinct, dense = np.unique(roots, return_inverse=True)
        self.count = len(distinct)
        self._ids = {name: dense[ids] for name, ids in self._classes.items()}

    def of(self, value: ir.Value, count: int | None = None) -> np.ndarray:
        """Int [C]: the class of each channel (axis 1) of a tensor.

        Args:
            value: The tensor.
            count: Its number of channels, for where shape inference may not have found it; such
                channels are fixed.
        """
        count = channel_count(value) if count is None else count
        classes: Mapping[str, np.ndarray] = getattr(self, "_ids", self._classes)
        ids = classes.get(name_of(value))
        return np.full(count, FIXED) if ids is None or len(ids) != count else ids

    def new(self, value: ir.Value, *, alone: bool = False) -> None:
        """Give each channel a class of its own, or all of them one."""
        first, count = len(self._parents), channel_count(value)
        ids = np.full(count, first) if alone else np.arange(first, first + count)
        self._parents.extend(np.unique(ids).tolist())
        self._classes[name_of(value)] = ids

    def assign(self, value: ir.Value, ids: np.ndarray) -> None:
        """Let a tensor's channels belong to these classes."""
        self._classes[name_of(value)] = ids

    def join(self, one: np.ndarray, other: np.ndarray) -> None:
        """Make the classes of two tensors' channels the same, channel by channel."""
        for a, b in zip(one.tolist(), other.tolist(), strict=True):
            first, second = sorted((self._root(a), self._root(b)))
            self._parents[second] = first

    def fix(self, value: ir.Value) -> None:
        """Forbid rescaling a tensor's channels."""
        ids = self.of(value)
        self.join(ids, np.full_like(ids, FIXED))

    def is_fixed(self, value: ir.Value) -> bool:
        """Whether none of a tensor's channels can be rescaled, by what is known so far."""
        return all(self._root(one) == FIXED for one in self.of(value).tolist())

    def _root(self, one: int) -> int:
        while self._parents[one] != one:
            self._parents[one] = self._parents[self._parents[one]]
            one = self._parents[one]
        return one


def channel_count(value: ir.Value) -> int:
    """Size of axis 1; 0 where there is none or it is not known."""
    sizes = list(value.shape or ())[1:2]
    return sizes[0] if sizes and isinstance(sizes[0], int) else 0


def per_channel_constant(node: ir.Node) -> tuple[int, np.ndarray] | None:
    """Index and values, float32 [C], of an addition's constant that is one value per channel."""
    channels = channel_count(node.outputs[0])
    rank = _rank(node.outputs[0])
    for index, value in enumerate(node.inputs):
        array = constant(value)
        if array is not None:
            sizes = (1,) * (rank - array.ndim) + array.shape
            if array.size in (1, channels) and sizes[1:2] == (array.size,):
                return index, np.broadcast_to(array.reshape(-1), (channels,))
    return None


def taken_channels(node: ir.Node) -> np.ndarray | None:
    """Int [C]: which of its input's channels a Slice takes, in order; None where that is computed.

    A slice of other axes takes them all.
    """
    source, *operands = node.inputs
    parameters = [None if value is None else constant(value) for value in operands]
    unknown = any(a is None and v is not None for a, v in zip(parameters, operands, strict=True))
    starts, ends, axes, steps = [*parameters, None, None][:4]
    if source is None or unknown or starts is None or ends is None:
        return None
    axes = np.arange(len(starts)) if axes is None else axes % max(_rank(source), 1)
    steps = np.ones(len(starts), np.int64) if steps is None else steps
    taken = np.arange(channel_count(source))
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        taken = taken[start:end:step] if axis == 1 else taken
    return taken


def _fix_all(classes: ChannelClasses, node: ir.Node) -> None:
    for value in node.inputs:
        if value is not None and not value.is_initializer():
            classes.fix(value)


def _weighted(classes: ChannelClasses, node: ir.Node) -> None:
    if rule_of(node).role is Role.WEIGHTED:
        classes.new(node.outputs[0])
    else:
        _fix_all(classes, node)


def _keep(classes: ChannelClasses, node: ir.Node) -> None:
    """Each output channel is made of the same input channel, in proportion to it."""
    source, output = node.inputs[0], node.outputs[0]
    if source is None or channel_count(source) != channel_count(output):
        _fix_all(classes, node)
    else:
        classes.assign(output, classes.of(source))


def _keep_in_int8(classes: ChannelClasses, node: ir.Node) -> None:
    (_keep if rule_of(node).role is Role.SHARES else _fix_all)(classes, node)


def _reduction(classes: ChannelClasses, node: ir.Node) -> None:
    """Over space every channel keeps its class."""
    source = node.inputs[0]
    axes = None if source is None else _reduced_axes(node, _rank(source))
    (_keep if axes is not None and min(axes, default=0) > 1 else _fix_all)(classes, node)


def _reduced_axes(node: ir.Node, rank: int) -> set[int] | None:
    """The axes that a reduction takes away; none stated means all, None that they are computed."""
    axes = node.attributes.get_ints("axes", None)
    if axes is None and len(node.inputs) > 1 and node.inputs[1] is not None:
        array = constant(node.inputs[1])
        if array is None:
            return None
        axes = array.tolist()
    return {axis % rank for axis in axes or range(rank)}


def _flatten(classes: ChannelClasses, node: ir.Node) -> None:
    """[N, C, …] to [N, C·…] or the like: every value keeps its channel's class."""
    source, output = node.inputs[0], node.outputs[0]
    values = None if source is None else _values_per_image(source)
    if source is None or values is None or values != _values_per_image(output):
        _fix_all(classes, node)
        return
    parts, rest = divmod(channel_count(output), max(channel_count(source), 1))
    if rest or not parts:
        _fix_all(classes, node)
    else:
        classes.assign(output, classes.of(source).repeat(parts))


def _values_per_image(value: ir.Value) -> int | None:
    """Product of all axes but the first, None where one is not known."""
    sizes = list(value.shape or ())[1:]
    static = [size for size in sizes if isinstance(size, int)]
    return math.prod(static) if sizes and len(static) == len(sizes) else None


def _concat(classes: ChannelClasses, node: ir.Node) -> None:
    inputs = [value for value in node.inputs if value is not None]
    if any(value.is_initializer() for value in inputs):
        _fix_all(classes, node)
    elif int_attribute(node, "axis", 0) not in (1, 1 - _rank(node.outputs[0])):
        _together(classes, node)
    elif sum(map(channel_count, inputs)) != channel_count(node.outputs[0]):
        _fix_all(classes, node)
    else:
        classes.assign(node.outputs[0], np.concatenate([classes.of(value) for value in inputs]))


def _slice(classes: ChannelClasses, node: ir.Node) -> None:
    """Channels that are taken keep their classes."""
    source, taken = node.inputs[0], taken_channels(node)
    if source is None or taken is None or len(taken) != channel_count(node.outputs[0]):
        _fix_all(classes, node)
    else:
        classes.assign(node.outputs[0], classes.of(source)[taken])


def _together(classes: ChannelClasses, node: ir.Node) -> None:
    """All inputs' channels get the same classes, channel by channel."""
    inputs = [value for value in node.inputs if value is not None]
    computed = [value for value in inputs if not value.is_initializer()]
    aligned = all(_lines_up(value, node.outputs[0]) for value in computed)
    constant_per_channel = len(computed) == len(inputs) or per_channel_constant(node) is not None
    if not (computed and aligned and constant_per_channel):
        _fix_all(classes, node)
        return
    ids = classes.of(computed[0])
    for other in computed[1:]:
        classes.join(ids, classes.of(other))
    classes.assign(node.outputs[0], ids)


def _multiply(classes: ChannelClasses, node: ir.Node) -> None:
    """The output has the classes of one input; the other, the gate, keeps its values.

    The gate is a constant, the smaller input, or one that is fixed already; else the second.
    """
    one, other = node.inputs[0], node.inputs[1]
    if one is None or other is None:
        return
    swapped = one.is_initializer()
    if not swapped and not other.is_initializer():
        sizes = _volume(one), _volume(other)
        swapped = sizes[0] < sizes[1] or (sizes[0] == sizes[1] and classes.is_fixed(one))
    data, gate = (other, one) if swapped else (one, other)
    if not _lines_up(data, node.outputs[0]):
        _fix_all(classes, node)
        return
    if not gate.is_initializer():
        classes.fix(gate)
    classes.assign(node.outputs[0], classes.of(data))


def _lines_up(value: ir.Value, output: ir.Value) -> bool:
    """Whether broadcasting leaves a tensor's channels where they are."""
    return _rank(value) == _rank(output) and channel_count(value) == channel_count(output)


def _rank(value: ir.Value) -> int:
    return len(value.shape or ())


def _volume(value: ir.Value) -> int:
    return math.prod(size for size in value.shape or () if isinstance(size, int))


PASSING: Mapping[Channels, Callable[[ChannelClasses, ir.Node], None]] = {
    Channels.FIXES: _fix_all,
    Channels.LAYER: _weighted,
    Channels.KEEPS: _keep,
    Channels.KEEPS_IN_INT8: _keep_in_int8,
    Channels.REDUCES: _reduction,
    Channels.FLATTENS: _flatten,
    Channels.CONCATENATES: _concat,
    Channels.SLICES: _slice,
    Channels.JOINS: _together,
    Channels.GATES: _multiply,
}
"""How each kind of op of the int8 table (``graph.ops``) passes classes on."""
