"""A rescaling at the start joins the preprocessing."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import pytest

from ghostedge_convert.sources.rescaling import without_rescaling


def model(body, **constants):
    made = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 18]>\n'
        f"g (float[2, 3, 8, 8] input) => (float[2, 3, 8, 8] out) {{ {body} }}"
    )
    for name, value in constants.items():
        tensor = onnx.numpy_helper.from_array(np.asarray(value, np.float32), name)
        made.graph.initializer.append(tensor)
    return made


def colours(*values):
    return np.reshape(values, (3, 1, 1))


@pytest.mark.parametrize(
    ("body", "factor", "term"),
    [
        ("a = Mul(input, s) b = Add(a, t) out = Relu(b)", (2, 2, 2), (-1, 0, 1)),
        ("a = Sub(input, t) b = Div(a, s) out = Relu(b)", (0.5, 0.5, 0.5), (0.5, 0, -0.5)),
        ("a = Div(input, s) out = Relu(a)", (0.5, 0.5, 0.5), (0, 0, 0)),
        (
            """a = Transpose <perm=[0, 2, 3, 1]> (input) b = Mul(a, s) c = Add(b, last)
               d = Transpose <perm=[0, 3, 1, 2]> (c) out = Relu(d)""",
            (2, 2, 2),
            (-1, 0, 1),
        ),
    ],
)
def test_arithmetic_before_the_first_layer_is_taken_out(run, body, factor, term):
    original = model(body, s=2, t=colours(-1, 0, 1), last=[-1, 0, 1])
    rescaling = without_rescaling(original)
    assert rescaling.present
    np.testing.assert_allclose(rescaling.factor, factor)
    np.testing.assert_allclose(rescaling.term, term)
    assert [node.op_type for node in rescaling.model.graph.node] == ["Relu"]
    images = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)
    expected = run(original, rescaling.undone(images))
    np.testing.assert_allclose(run(rescaling.model, images), expected, atol=1e-5)


@pytest.mark.parametrize(
    "body",
    [
        "a = Relu(input) out = Mul(a, s)",
        "a = Mul(input, negative) out = Relu(a)",
        "a = Mul(input, pixels) out = Relu(a)",
        "a = Mul(input, s) out = Add(a, input)",
        "out = Mul(input, s)",
        "a = Div(s, input) out = Relu(a)",
    ],
)
def test_anything_else_stays(body):
    rescaling = without_rescaling(model(body, s=2, negative=-1, pixels=np.arange(1, 9)))
    assert not rescaling.present
    assert rescaling.factor == (1, 1, 1)
    assert "Relu" not in body or len(rescaling.model.graph.node) == body.count("=") - body.count(
        "perm"
    )


def test_normalization_includes_what_was_taken_out():
    """127.5-scaling of pixels from 0 to 255 is mean 0.5 and std 0.5."""
    rescaling = without_rescaling(
        model("a = Mul(input, s) b = Add(a, t) out = Relu(b)", s=1 / 127.5, t=-1)
    )
    mean, std = rescaling.normalization((0.0,) * 3, (1 / 255,) * 3)
    np.testing.assert_allclose(mean, 0.5, rtol=1e-6)
    np.testing.assert_allclose(std, 0.5, rtol=1e-6)


def test_normalization_agrees_with_doing_one_after_the_other():
    rescaling = without_rescaling(
        model("a = Mul(input, s) b = Add(a, t) out = Relu(b)", s=3, t=colours(1, 2, 4))
    )
    mean, std = rescaling.normalization((0.1, 0.2, 0.3), (0.5, 0.6, 0.7))
    pixels = np.linspace(0, 1, 5)
    for channel, (m, s, f, t) in enumerate(
        zip((0.1, 0.2, 0.3), (0.5, 0.6, 0.7), rescaling.factor, rescaling.term, strict=True)
    ):
        twice = (pixels - m) / s * f + t
        np.testing.assert_allclose((pixels - mean[channel]) / std[channel], twice)
