"""Times of a ``.tflite`` file's operators, each run alone by the case's own interpreter.

An operator that runs over and over finds its tensors in the caches, which in the whole graph it may
not; and what the graph fuses beyond `one_op_models` runs apart here. So the sum of all is not the
time of the whole, and both should be shown. In half precision, each also converts its inputs and
outputs, which the whole does at its ends alone.

What calling the interpreter takes, some half a microsecond, is measured on an operator that adds
two numbers and taken off.
"""

from __future__ import annotations

import statistics
from array import array
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ghostedge_runtime.errors import InputError
from ghostedge_runtime.formats.backend import first_line
from ghostedge_runtime.formats.op_runs import Call, random_values, timed_ns
from ghostedge_runtime.formats.table import read_model_file
from ghostedge_runtime.formats.tflite.interpreter import find_interpreter, reference_kernels
from ghostedge_runtime.formats.tflite.op_times import OneOp, OneOpModels, add_of_one_number
from ghostedge_runtime.record import Case, OpTime

_ROUNDS = 3


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
    options = reference_kernels(interpreter_class) if case.backend == "litert-reference" else {}
    interpreter = interpreter_class(model_content=data, num_threads=case.threads, **options)
    interpreter.allocate_tensors()
    for detail in interpreter.get_input_details():
        values = random_values(tuple(detail["shape"]), np.dtype(detail["dtype"]))
        interpreter.set_tensor(detail["index"], values)
    run: Call = interpreter.invoke
    return run
