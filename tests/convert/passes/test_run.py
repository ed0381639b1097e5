"""Passes run in order, and each is held to what it must keep."""

from __future__ import annotations

import onnx
import onnx.parser
import onnx_ir as ir
import pytest

from ghostedge_convert.passes.run import PassFailedError, PassNote, run_passes
from ghostedge_runtime.errors import UnsupportedOpError


@pytest.fixture(scope="module")
def exported() -> onnx.ModelProto:
    return onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 18]> '
        "g (float[1, 3, 8, 8] image) => (float[1, 3, 8, 8] out) { out = Relu(image) }"
    )


def test_a_failing_pass_is_named_with_those_before_it(exported):
    def fine(model: ir.Model) -> PassNote:
        return PassNote("fine", 0, "nothing")

    def broken(model: ir.Model) -> PassNote:
        raise KeyError("lost")

    with pytest.raises(
        PassFailedError, match=r"broken failed: KeyError.*before it: fine"
    ) as raised:
        run_passes(ir.from_proto(exported), (fine, broken))
    assert raised.value.exit_code == 1


def test_a_pass_that_renames_an_output_breaks_the_contract(exported):
    def rename(model: ir.Model) -> PassNote:
        model.graph.outputs[0].name = "scores"
        return PassNote("rename", 1, "an output renamed")

    with pytest.raises(PassFailedError, match=r"rename failed.*changed the graph's inputs"):
        run_passes(ir.from_proto(exported), (rename,))


def test_a_pass_that_changes_the_shape_of_an_input_breaks_the_contract(exported):
    def widen(model: ir.Model) -> PassNote:
        model.graph.inputs[0].shape = ir.Shape((2, 3, 8, 8))
        return PassNote("widen", 1, "an input widened")

    with pytest.raises(PassFailedError, match="widen failed"):
        run_passes(ir.from_proto(exported), (widen,))


def test_a_note_of_another_pass_breaks_the_contract(exported):
    def fine(model: ir.Model) -> PassNote:
        return PassNote("other", 0, "nothing")

    with pytest.raises(PassFailedError, match="its note is of 'other'"):
        run_passes(ir.from_proto(exported), (fine,))


def test_what_a_pass_refuses_reaches_the_user_as_it_is(exported):
    def refuse(model: ir.Model) -> PassNote:
        raise UnsupportedOpError("no form for it", where="node 'a'")

    with pytest.raises(UnsupportedOpError, match="no form for it"):
        run_passes(ir.from_proto(exported), (refuse,))
