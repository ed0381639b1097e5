"""int8 keeps scores of 0.01 to 0.98 that one output joins to boxes of hundreds of pixels."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from ai_edge_litert.interpreter import Interpreter

from ghostedge.conversion.outputs import OutputGap
from ghostedge.conversion.parts import output_parts
from ghostedge.formats.table import TARGETS
from ghostedge_convert import lower_to_tflite
from ghostedge_runtime.errors import InputError

LEAST_DB = 20.0


def in_onnx_runtime(model: onnx.ModelProto, pixels: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (source,) = session.get_inputs()
    return np.concatenate([session.run(None, {source.name: each[None]})[0] for each in pixels])


def in_litert(model: onnx.ModelProto, pixels: np.ndarray) -> np.ndarray:
    lowered = lower_to_tflite(model)
    interpreter = Interpreter(model_content=lowered.data)
    interpreter.allocate_tensors()
    (source,), (end,) = interpreter.get_input_details(), interpreter.get_output_details()
    found = []
    for each in pixels:
        interpreter.set_tensor(source["index"], each[None])
        interpreter.invoke()
        found.append(interpreter.get_tensor(end["index"]))
    order = lowered.output_layouts[model.graph.output[0].name]
    return np.concatenate(found).transpose(np.argsort(order).tolist())


RUNNERS = pytest.mark.parametrize("run", [in_onnx_runtime, in_litert])


@RUNNERS
def test_scores_and_boxes_are_both_sound(detector, decibels, run: Callable[..., np.ndarray]):
    wanted, found = detector.wanted, run(detector.prepared.qdq(), detector.pixels)
    scores = detector.scores_of(wanted)
    assert (scores.min() < 0.01, scores.max() > 0.98) == (True, True)
    assert decibels(detector.scores_of(found), scores) >= LEAST_DB
    assert decibels(detector.boxes_of(found), detector.boxes_of(wanted)) >= LEAST_DB


@RUNNERS
def test_one_scale_for_all_parts_would_lose_the_scores(
    detector, decibels, run: Callable[..., np.ndarray]
):
    ranges = replace(detector.prepared.ranges, float_joins=frozenset())
    found = run(replace(detector.prepared, ranges=ranges).qdq(), detector.pixels)
    assert decibels(detector.scores_of(found), detector.scores_of(detector.wanted)) < LEAST_DB / 2
    assert decibels(found, detector.wanted) >= LEAST_DB


def test_the_check_passes_own_scales_and_fails_one_scale_naming_the_scores(detector):
    (parts,) = output_parts(detector.deploy).values()
    ranges = replace(detector.prepared.ranges, float_joins=frozenset())
    budget = TARGETS["onnx"].output_budgets["int8"]
    own, one = (
        OutputGap.between(in_onnx_runtime(each.qdq(), detector.pixels), detector.wanted, parts)
        for each in (detector.prepared, replace(detector.prepared, ranges=ranges))
    )
    assert own.keeps(budget)
    assert one.whole.keeps(budget)
    assert not one.keeps(budget)
    assert one.worst.sqnr_db < LEAST_DB / 2
    assert re.search("Sigmoid|Softmax", one.worst.name)


def test_only_the_concats_of_unlike_parts_are_float(detector):
    qdq = detector.prepared.qdq()
    makers = {name: node for node in qdq.graph.node for name in node.output}
    int8 = {
        node.name
        for node in qdq.graph.node
        if node.op_type == "Concat"
        and makers[node.input[0]].op_type == "DequantizeLinear"
        and any(
            user.op_type == "QuantizeLinear"
            for user in qdq.graph.node
            if node.output[0] in user.input
        )
    }
    joins = {node.name for node in detector.deploy.graph.node if node.op_type == "Concat"} - int8
    assert joins == detector.prepared.ranges.float_joins


def test_an_int8_output_of_unlike_parts_is_refused_by_name(detector):
    settings = replace(detector.prepared.settings, output_type="int8")
    with pytest.raises(InputError, match="joins parts of unlike ranges") as caught:
        replace(detector.prepared, settings=settings).qdq()
    message = str(caught.value)
    assert "output logits" in message
    assert re.search(r"(Sigmoid|Softmax|Split\S*)( \(0 to 0.99\d\))", message)
    assert "--output-type float32" in message
