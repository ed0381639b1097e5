"""Small graphs over real pixels, and the check that a pass kept what they compute."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import onnx
import onnx.parser
import onnx_ir as ir
import pytest

from ghostedge_convert.passes.run import Pass, PassNote

Weights = dict[str, npt.NDArray[np.generic]]
Graph = Callable[..., onnx.ModelProto]


@pytest.fixture(scope="session")
def graph() -> Graph:
    """Make a model from ONNX's text form: input [8, 3, 32, 32], output ``out``, nodes named."""

    def make(body: str, *, opset: int = 18, **weights: npt.ArrayLike) -> onnx.ModelProto:
        model = onnx.parser.parse_model(
            f'<ir_version: 8, opset_import: ["" : {opset}]>\n'
            f"g (float[8, 3, 32, 32] input) => (float out) {{ {body} }}"
        )
        for name, array in weights.items():
            tensor = onnx.numpy_helper.from_array(np.asarray(array), name)
            model.graph.initializer.append(tensor)
        for node in model.graph.node:
            node.name = f"{node.output[0]}_node"
        # The parser's ``float out`` is a scalar; the real shape is inferred.
        model.graph.output[0].type.tensor_type.ClearField("shape")
        return onnx.shape_inference.infer_shapes(model, strict_mode=True)

    return make


@pytest.fixture(scope="session")
def weights() -> Callable[..., npt.NDArray[np.float32]]:
    """Random float32 weights, the same in every run."""

    def make(*shape: int, seed: int = 0) -> npt.NDArray[np.float32]:
        return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)

    return make


@pytest.fixture
def apply(photos_32, run) -> Callable[[Pass, onnx.ModelProto], tuple[onnx.ModelProto, PassNote]]:
    """Run one pass; the result is valid, and ONNX Runtime finds the function unchanged."""

    def check(step: Pass, model: onnx.ModelProto) -> tuple[onnx.ModelProto, PassNote]:
        edited = ir.from_proto(model)
        note = step(edited)
        result = ir.to_proto(edited)
        onnx.checker.check_model(result, full_check=True)
        assert [o.name for o in result.graph.output] == [o.name for o in model.graph.output]
        before, after = run(model, photos_32), run(result, photos_32)
        assert np.ptp(before) > 0.1, "the graph is to depend on its input"
        np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-4)
        return result, note

    return check


@pytest.fixture(scope="session")
def ops() -> Callable[[onnx.ModelProto], list[str]]:
    """The ops of a graph in order."""
    return lambda model: [node.op_type for node in model.graph.node]


@pytest.fixture
def norm(weights: Callable[..., npt.NDArray[np.float32]]) -> Weights:
    """Parameters of a batch norm of seven channels."""
    return {
        "gamma": weights(7, seed=1),
        "beta": weights(7, seed=2),
        "mean": weights(7, seed=3),
        "var": np.abs(weights(7, seed=4)) + 0.1,
    }


@pytest.fixture
def streams(weights: Callable[..., npt.NDArray[np.float32]]) -> Weights:
    """Weights of two convolutions, of four and three output channels."""
    return {"v": weights(4, 3, 3, 3), "w": weights(3, 3, 1, 1)}
