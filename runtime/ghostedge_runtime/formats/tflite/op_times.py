"""Times of a ``.tflite`` file's operators, each in a model of its own with its real constants.

Each is run alone by the case's own interpreter. An operator that runs over and over finds its
tensors in the caches, which in the whole graph it may not; and what the graph fuses beyond the two
cases below runs apart here. So the sum of all is not the time of the whole, and both should be
shown. In half precision, each also converts its inputs and outputs, which the whole does at its
ends alone.

Some never run by themselves in the whole graph and do not here; these go with the operator that
uses them:

- XNNPACK folds a PAD with zeros into the convolution it feeds, where that alone reads it;
- what is computed from constants alone (half-precision weights made float32) is computed once, when
  the file is opened.

What else XNNPACK fuses (a stand-alone activation, into what comes before) is not followed:
converters fuse activations themselves. Only here are the flatbuffer schema's bindings needed, which
come with ai-edge-litert.
"""

from __future__ import annotations

import copy
import statistics
from array import array
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np

from ghostedge_runtime.errors import InputError, MissingDependencyError
from ghostedge_runtime.formats.backend import first_line
from ghostedge_runtime.formats.loading import read_model_file
from ghostedge_runtime.formats.op_runs import Call, random_values, timed_ns
from ghostedge_runtime.formats.tflite.file import IDENTIFIER, check_structure
from ghostedge_runtime.formats.tflite.interpreter import find_interpreter, reference_option
from ghostedge_runtime.record import Case, OpTime

try:
    from ai_edge_litert import schema_py_generated as _tfl
except ImportError as error:
    raise MissingDependencyError(
        f"taking a .tflite file apart needs the bindings of its format ({error})",
        where="ghostedge_runtime",
        remedy="pip install ai-edge-litert, or measure its operators on a machine that has it",
    ) from error

_ROUNDS = 3


_NAMES: dict[int, str] = {
    number: name for name, number in vars(_tfl.BuiltinOperator).items() if not name.startswith("_")
}
_CONVOLUTIONS = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D"})


@dataclass(frozen=True)
class OneOp:
    """An operator of the graph.

    Attributes:
        index: Its place in the graph.
        op: Its kind, such as ``CONV_2D``.
        name: Of its first output.
        output_shape: Of its first output.
        with_it: Places of the operators that run with it, in order.
        counted_in: Why it has no time of its own; None where it has.
    """

    index: int
    op: str
    name: str
    output_shape: tuple[int, ...]
    with_it: tuple[int, ...]
    counted_in: str | None


class OneOpModels:
    """Takes the first subgraph of a file apart.

    Args:
        data: The file.
        where: Its name, for error messages.
        fold_pads: Whether to leave a PAD with the convolution that it is folded into.

    Attributes:
        operators: All of them, in the graph's order.

    Raises:
        ModelFileError: The file is damaged.
    """

    def __init__(self, data: bytes, where: Path, *, fold_pads: bool) -> None:
        check_structure(data, where)
        self._data = data
        self._model = _tfl.ModelT.InitFromPackedBuf(data, 0)
        self._graph = self._model.subgraphs[0]
        self._ops = self._graph.operators or []
        self._maker = {t: n for n, op in enumerate(self._ops) for t in _all(op.outputs)}
        self._readers = Counter(t for op in self._ops for t in set(_all(op.inputs)))
        self._once = self._computed_once()
        self._folded = self._folded_pads() if fold_pads else {}
        self.operators = tuple(self._describe(index) for index in range(len(self._ops)))

    def model(self, one: OneOp) -> bytes:
        """The file of a model that holds this operator and what runs with it."""
        members = [*one.with_it, one.index]
        computed = {t for member in members for t in _all(self._ops[member].outputs)}
        model, graph = _tfl.ModelT(), _tfl.SubGraphT()
        model.version, model.subgraphs = 3, [graph]
        model.buffers, model.operatorCodes = [_tfl.BufferT()], []
        graph.tensors, graph.operators, graph.inputs = [], [], []
        place: dict[int, int] = {-1: -1}
        for member in members:
            operator = copy.copy(self._ops[member])
            model.operatorCodes.append(self._model.operatorCodes[operator.opcodeIndex])
            operator.opcodeIndex = len(model.operatorCodes) - 1
            for tensor in _all([*_all(operator.inputs), *_all(operator.outputs)]):
                if tensor in place:
                    continue
                place[tensor] = len(graph.tensors)
                value = self._constant(tensor)
                graph.tensors.append(self._tensor(tensor, value, model.buffers))
                if value is None and tensor not in computed:
                    graph.inputs.append(place[tensor])
            operator.inputs = [place[int(tensor)] for tensor in operator.inputs]
            operator.outputs = [place[int(tensor)] for tensor in operator.outputs]
            graph.operators.append(operator)
        graph.outputs = list(graph.operators[-1].outputs)
        return packed(model)

    def _tensor(self, index: int, value: Any, buffers: list[Any]) -> Any:
        tensor = copy.copy(self._graph.tensors[index])
        tensor.buffer = 0
        if value is not None:
            tensor.buffer = len(buffers)
            buffers.append(_tfl.BufferT())
            buffers[-1].data = value
        return tensor

    def _constant(self, tensor: int) -> Any:
        """The bytes that the file holds for a tensor, None if it holds none."""
        buffer = self._model.buffers[self._graph.tensors[tensor].buffer]
        if buffer.offset > 1:  # behind the flatbuffer, in files that outgrow it
            return np.frombuffer(self._data, np.uint8, buffer.size, buffer.offset)
        return None if buffer.data is None or len(buffer.data) == 0 else np.asarray(buffer.data)

    def _describe(self, index: int) -> OneOp:
        tensor = self._graph.tensors[int(self._ops[index].outputs[0])]
        return OneOp(
            index=index,
            op=self._kind(index),
            name=_text(tensor.name),
            output_shape=() if tensor.shape is None else tuple(map(int, tensor.shape)),
            with_it=tuple(sorted(self._with(index))),
            counted_in=self._counted_in(index),
        )

    def _kind(self, index: int) -> str:
        code = self._model.operatorCodes[self._ops[index].opcodeIndex]
        if code.customCode is not None:
            return _text(code.customCode)
        # Old writers filled the second field alone, which ends at 127.
        number = max(code.builtinCode, code.deprecatedBuiltinCode)
        return _NAMES.get(number, f"operator {number}")

    def _counted_in(self, index: int) -> str | None:
        if index in self._folded:
            user = self._folded[index]
            return f"counted in operator {user}, the {self._kind(user)} that XNNPACK folds it into"
        if index in self._once:
            return "counted in what uses it: computed once, from constants"
        return None

    def _with(self, index: int) -> set[int]:
        """What has to run before an operator in the same model."""
        before: set[int] = set()
        for tensor in _all(self._ops[index].inputs):
            maker = self._maker.get(tensor)
            if maker is not None and (maker in self._once or self._folded.get(maker) == index):
                before |= {maker} | self._with(maker)
        return before

    def _computed_once(self) -> set[int]:
        """Places of the operators that read constants alone."""
        once: set[int] = set()
        for index, operator in enumerate(self._ops):
            inputs = _all(operator.inputs)
            if inputs and all(
                self._constant(tensor) is not None or self._maker.get(tensor) in once
                for tensor in inputs
            ):
                once.add(index)
        return once

    def _folded_pads(self) -> dict[int, int]:
        """Places of the PADs that XNNPACK folds, each with its convolution's."""
        folded = {}
        outputs = set(_all(self._graph.outputs))
        for index, operator in enumerate(self._ops):
            if self._kind(index) not in _CONVOLUTIONS or operator.builtinOptions is None:
                continue
            source = int(operator.inputs[0])
            pad = self._maker.get(source)
            if (
                pad is not None
                and self._kind(pad) == "PAD"
                and operator.builtinOptions.padding == _tfl.Padding.VALID
                and self._readers[source] == 1
                and source not in outputs
                and self._pads_image(pad)
            ):
                folded[pad] = index
        return folded

    def _pads_image(self, pad: int) -> bool:
        """Whether it pads rows and columns alone, by constants."""
        value = self._constant(int(self._ops[pad].inputs[1]))
        if value is None:
            return False
        amounts = np.frombuffer(value.tobytes(), "<i4")  # batch, rows, columns, channels
        return amounts.size == 8 and not amounts[[0, 1, 6, 7]].any()


def add_of_one_number() -> bytes:
    """The smallest model there is to compute: a float32 and a constant, added."""
    model, graph, code, add = (
        _tfl.ModelT(),
        _tfl.SubGraphT(),
        _tfl.OperatorCodeT(),
        _tfl.OperatorT(),
    )
    code.builtinCode = code.deprecatedBuiltinCode = _tfl.BuiltinOperator.ADD
    one = _tfl.BufferT()
    one.data = np.frombuffer(np.float32(1).tobytes(), np.uint8)
    model.version, model.buffers, model.operatorCodes = 3, [_tfl.BufferT(), one], [code]
    graph.tensors = [_number(0), _number(1), _number(0)]
    add.inputs, add.outputs = [0, 1], [2]
    add.builtinOptionsType, add.builtinOptions = _tfl.BuiltinOptions.AddOptions, _tfl.AddOptionsT()
    graph.inputs, graph.outputs, graph.operators, model.subgraphs = [0], [2], [add], [graph]
    return packed(model)


def packed(model: Any) -> bytes:
    """A model's file."""
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


def _number(buffer: int) -> Any:
    tensor = _tfl.TensorT()
    tensor.shape, tensor.type, tensor.buffer = [1], _tfl.TensorType.FLOAT32, buffer
    return tensor


def _text(name: bytes | None) -> str:
    return "" if name is None else name.decode(errors="replace")


def _all(tensors: Iterable[Any] | None) -> list[int]:
    """The tensors of a list, without the places where an optional one is left out."""
    return [] if tensors is None else [int(tensor) for tensor in tensors if tensor >= 0]


def time_tflite_ops(
    path: Path, case: Case, progress: Callable[[int, int], None] | None
) -> list[OpTime]:
    """Time every operator of a file, in the graph's order.

    All of them have a turn in each of a few rounds, opened anew, so that what disturbs the machine
    for a moment disturbs no operator's every sample.

    Args:
        path: The file.
        case: Backend, threads and precision mode.
        progress: Called with the turns done and how many there are.

    Raises:
        ModelFileError: The file is missing or damaged.
        MissingDependencyError: No interpreter, or not the bindings of the format.
        InputError: Half precision is not to be had.
    """
    models = OneOpModels(read_model_file(path), path, fold_pads=case.backend == "litert")
    timers = [_Timer(one, models, case, path) for one in models.operators]
    calling = array("q")
    for turn in range(_ROUNDS):
        calling.extend(timed_ns(_call(add_of_one_number(), case, path)))
        for done, timer in enumerate(timers, start=turn * len(timers) + 1):
            timer.take_turn()
            if progress is not None:
                progress(done, _ROUNDS * len(timers))
    return [timer.result(statistics.median(calling)) for timer in timers]


class _Timer:
    """Collects one operator's samples, or why it has none."""

    def __init__(self, one: OneOp, models: OneOpModels, case: Case, path: Path) -> None:
        self._one, self._models, self._case, self._path = one, models, case, path
        self._note = one.counted_in
        self._samples = array("q")

    def take_turn(self) -> None:
        if self._note is not None:
            return
        try:
            call = _call(self._models.model(self._one), self._case, self._path)
            self._samples.extend(timed_ns(call))
        # What an interpreter says of an operator that needs others around it: another subgraph,
        # a shape that is computed. Ours of half precision comes as an InputError.
        except (ValueError, RuntimeError, InputError) as error:
            reason = error.what if isinstance(error, InputError) else first_line(error)
            self._note = f"it does not run alone: {reason}"

    def result(self, calling_ns: float) -> OpTime:
        """Its median, less what a call of the interpreter takes."""
        one = self._one
        spent = 0.0 if self._note is not None else statistics.median(self._samples)
        own = max(0.0, spent - calling_ns) / 1e6
        return OpTime(one.index, one.op, one.name, own, one.output_shape, self._note)


def _call(data: bytes, case: Case, where: Path) -> Call:
    """A model on the case's backend, with random inputs in it, ready to be run."""
    if case.precision_mode == "fp16":
        from ghostedge_runtime.formats.tflite import compiled  # noqa: PLC0415  # ai-edge-litert alone

        return compiled.repeated_run(data, case.threads, where, random_values)
    _, _, interpreter_class = find_interpreter()
    options = reference_option(interpreter_class) if case.backend == "litert-reference" else {}
    interpreter = interpreter_class(model_content=data, num_threads=case.threads, **options)
    interpreter.allocate_tensors()
    for detail in interpreter.get_input_details():
        values = random_values(tuple(detail["shape"]), np.dtype(detail["dtype"]))
        interpreter.set_tensor(detail["index"], values)
    run: Call = interpreter.invoke
    return run
