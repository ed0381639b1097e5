"""Toy graphs in ONNX's text form, and the real network's deploy graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper, parser

from ghostedge_runtime.images import normalize, prepare
from ghostedge_runtime.metadata import Preprocessing


def _toy(
    body: str,
    weights: Mapping[str, Any] | None = None,
    *,
    shape: Sequence[int] = (1, 3, 8, 8),
    output: Sequence[int] = (1, 10),
    opset: int = 18,
) -> onnx.ModelProto:
    def dims(sizes: Sequence[int]) -> str:
        return ",".join(map(str, sizes))

    model = parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : {opset}]>'
        f" toy (float[{dims(shape)}] input) => (float[{dims(output)}] logits) {{ {body} }}"
    )
    for name, array in (weights or {}).items():
        keeps = isinstance(array, np.ndarray) and array.dtype == np.int64
        stored = np.asarray(array, None if keeps else np.float32)
        model.graph.initializer.append(numpy_helper.from_array(stored, name))
    onnx.checker.check_model(model)
    return model


@pytest.fixture(scope="session")
def toy() -> Callable[..., onnx.ModelProto]:
    """toy(body, {name: array}, shape=, output=, opset=) → a model "input" → "logits"."""
    return _toy


@pytest.fixture(scope="session")
def ghost(toy: Callable[..., onnx.ModelProto]) -> onnx.ModelProto:
    """A ghost module with squeeze-excite gate and residual, small, with every op of GhostNet."""
    random = np.random.default_rng(3)

    def weight(*shape: int) -> np.ndarray:
        return random.normal(0, 1 / np.sqrt(np.prod(shape[1:])), shape)

    return toy(
        """
        s = Conv<pads=[1,1,1,1], strides=[2,2]>(input, stem_w, stem_b)
        stem = Relu(s)
        p = Conv(stem, primary_w, primary_b)
        primary = Relu(p)
        c = Conv<pads=[1,1,1,1], group=4>(primary, cheap_w, cheap_b)
        cheap = Relu(c)
        both = Concat<axis=1>(primary, cheap)
        pooled = GlobalAveragePool(both)
        r = Conv(pooled, reduce_w, reduce_b)
        reduced = Relu(r)
        e = Conv(reduced, expand_w, expand_b)
        gate = Clip(e, zero, six)
        gated = Mul(both, gate)
        linear = Conv(gated, linear_w, linear_b)
        residual = Add(linear, stem)
        mean = GlobalAveragePool(residual)
        flat = Flatten(mean)
        logits = Gemm<transB=1>(flat, dense_w, dense_b)
        """,
        {
            "stem_w": weight(8, 3, 3, 3),
            "stem_b": weight(8, 1)[:, 0],
            "primary_w": weight(4, 8, 1, 1),
            "primary_b": weight(4, 1)[:, 0],
            "cheap_w": weight(4, 1, 3, 3),
            "cheap_b": weight(4, 1)[:, 0],
            "reduce_w": weight(4, 8, 1, 1),
            "reduce_b": weight(4, 1)[:, 0],
            "expand_w": weight(8, 4, 1, 1),
            "expand_b": np.full(8, 3.0),
            "zero": np.float32(0),
            "six": np.float32(6),
            "linear_w": weight(8, 8, 1, 1),
            "linear_b": weight(8, 1)[:, 0],
            "dense_w": weight(10, 8),
            "dense_b": weight(10, 1)[:, 0],
        },
    )


def _batches(count: int, shape: Sequence[int] = (1, 3, 8, 8), seed: int = 0) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.normal(size=shape).astype(np.float32) for _ in range(count)]


@pytest.fixture(scope="session")
def batches() -> Callable[..., list[np.ndarray]]:
    """batches(count, shape, seed) → normal float32 arrays."""
    return _batches


def _run(
    model: onnx.ModelProto,
    arrays: Sequence[np.ndarray],
    *,
    outputs: Sequence[str] | None = None,
    optimise: bool = True,
) -> np.ndarray:
    """Run each array; the (first named) output of all, concatenated."""
    if outputs is not None:
        model = onnx.ModelProto.FromString(model.SerializeToString())
        del model.graph.output[:]
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    if not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: array})[0] for array in arrays])


@pytest.fixture(scope="session")
def run() -> Callable[..., np.ndarray]:
    """run(model, arrays, outputs=, optimise=) → results in ONNX Runtime."""
    return _run


class Images:
    """Images of a folder, one at a time: ``raw`` uint8 NHWC, ``normalised`` float32 NCHW."""

    def __init__(self, paths: Sequence[Path], preprocessing: Preprocessing) -> None:
        self.paths, self.preprocessing = list(paths), preprocessing

    @property
    def raw(self) -> Iterator[np.ndarray]:
        return (prepare(path, self.preprocessing)[None] for path in self.paths)

    def __iter__(self) -> Iterator[np.ndarray]:
        for pixels in self.raw:
            normalised = normalize(pixels, self.preprocessing)
            yield np.ascontiguousarray(normalised.transpose(0, 3, 1, 2))


@pytest.fixture(scope="session")
def images() -> type[Images]:
    return Images


@pytest.fixture(scope="session")
def trained_deploy(trained_checkpoint: Path) -> onnx.ModelProto:
    """The deploy graph of a trained GhostNet, [1, 3, 64, 64] in."""
    from ghostedge_convert import (  # noqa: PLC0415 - torch is slow to import, few tests need it
        build,
        export_onnx,
        identify,
        load_checkpoint,
        to_deploy_graph,
    )

    checkpoint = load_checkpoint(trained_checkpoint)
    module = build(checkpoint, identify(checkpoint))
    return to_deploy_graph(export_onnx(module, input_size=(64, 64))).model


@pytest.fixture(scope="session")
def trained_preprocessing() -> Preprocessing:
    """As the trained checkpoint's config.json has it."""
    return Preprocessing(input_size=(64, 64), crop_pct=1.0)
