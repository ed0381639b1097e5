"""Float models computed in half precision: when, how exactly, and when not."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from ghostedge_runtime import Model
from ghostedge_runtime.errors import InputError
from ghostedge_runtime.formats.tflite.half_precision import check_processor
from ghostedge_runtime.machine.system import LIVE, Platform
from ghostedge_runtime.metadata import InputSpec
from ghostedge_runtime.record import Delegation

Save = Callable[..., Path]
HALF_STEP = 2.0**-11  # relative rounding error of half precision


def _has_half_precision() -> bool:
    try:
        check_processor(Path())
    except InputError:
        return False
    return True


needs_half_precision = pytest.mark.skipif(
    not _has_half_precision(), reason="this processor does not compute in half precision"
)


@dataclass
class Processor:
    """A machine of which only ``/proc/cpuinfo`` is known."""

    machine: str
    cpuinfo: str | None

    def text(self, path: str) -> str | None:
        assert path == "/proc/cpuinfo"
        return self.cpuinfo

    def platform(self) -> Platform:
        return replace(LIVE.platform(), machine=self.machine)


@pytest.mark.parametrize(
    ("machine", "cpuinfo", "instruction"),
    [
        # A Raspberry Pi 4's Cortex-A72: none of the features that matter.
        ("aarch64", "Features : fp asimd evtstrm crc32 cpuid", "FEAT_FP16"),
        # asimdhp is for vectors; scalars in half precision (fphp) do not help.
        ("aarch64", "Features : fp asimd fphp asimddp", "FEAT_FP16"),
        ("armv7l", "Features : half thumb fastmult vfp edsp neon vfpv4", "FEAT_FP16"),
        ("x86_64", "flags : fpu avx2 f16c avx512f avx512_vnni", "AVX512-FP16"),
    ],
)
def test_a_processor_without_it_is_refused_by_the_instructions_name(
    machine: str, cpuinfo: str, instruction: str
) -> None:
    with pytest.raises(InputError, match=instruction):
        check_processor(Path("model.tflite"), Processor(machine, cpuinfo))


@pytest.mark.parametrize(
    ("machine", "cpuinfo"),
    [
        ("aarch64", "Features : fp asimd fphp asimdhp asimddp"),
        ("x86_64", "flags : fpu avx512f avx512_fp16"),
        ("x86_64", None),  # not told: XNNPACK decides
        ("riscv64", "isa : rv64imafdc"),
    ],
)
def test_a_processor_with_it_or_not_told_of_is_let_through(
    machine: str, cpuinfo: str | None
) -> None:
    check_processor(Path("model.tflite"), Processor(machine, cpuinfo))


@needs_half_precision
def test_an_int8_file_is_refused_for_nothing_would_change(glyphs_int8: Path) -> None:
    with pytest.raises(InputError, match="none of its 182 operators computes with floats"):
        Model(glyphs_int8, precision_mode="fp16")


@needs_half_precision
def test_answers_are_those_of_float32_within_half_precision(float_tflite: Path) -> None:
    """The mean of 64 pixels, then ten times it, each rounded once or a few times."""
    image = np.random.default_rng(1).uniform(-2, 2, (1, 8, 8, 3)).astype(np.float32)
    exact = Model(float_tflite).predict(image)
    half = Model(float_tflite, precision_mode="fp16").predict(image)
    assert half.dtype == np.float32
    assert not np.array_equal(half, exact)
    assert np.abs(half - exact).max() <= 8 * HALF_STEP * np.abs(exact).max()


@needs_half_precision
@pytest.mark.parametrize("outputs", [slice(0, 2), slice(1, None, -1)])
def test_several_outputs_keep_the_files_names_and_order(save_tflite: Save, outputs: slice) -> None:
    path = save_tflite("float32", outputs=outputs)
    image = np.full((1, 8, 8, 3), (0.5, -1, 2), np.float32)
    exact = Model(path).predict(image)
    half = Model(path, precision_mode="fp16").predict(image)
    assert list(half) == list(exact) == ["logits", "mean"][outputs]
    np.testing.assert_allclose(half["mean"], [[0.5, -1, 2]], rtol=HALF_STEP)
    np.testing.assert_allclose(half["logits"], [[5, -10, 20]], rtol=HALF_STEP)


@needs_half_precision
def test_an_answer_is_the_callers_own(float_tflite: Path) -> None:
    model = Model(float_tflite, precision_mode="fp16")
    first = model.predict(np.ones((1, 8, 8, 3), np.float32))
    model.predict(np.zeros((1, 8, 8, 3), np.float32))
    np.testing.assert_array_equal(first, [[10, 10, 10]])
    first[:] = 7
    np.testing.assert_array_equal(model.predict(np.ones((1, 8, 8, 3), np.float32)), [[10, 10, 10]])


@needs_half_precision
def test_what_the_model_is_stays_as_in_float32(float_tflite: Path) -> None:
    exact, half = Model(float_tflite), Model(float_tflite, threads=2, precision_mode="fp16")
    assert (half.io, half.metadata) == (exact.io, exact.metadata)
    assert (half.runtime, half.threads, half.backend) == (exact.runtime, 2, "litert")
    assert half.precision_mode == "fp16"
    assert half.delegation == exact.delegation == Delegation("XNNPACK", 2, 2, 1)
    red = np.zeros((9, 9, 3), np.uint8) + np.array([200, 20, 20], np.uint8)
    assert half.classify(red)[0].label == "red"
    assert half.first_inference_ms is not None


@needs_half_precision
def test_a_damaged_file_is_refused_as_in_float32(float_tflite: Path, tmp_path: Path) -> None:
    path = tmp_path / "half.tflite"
    path.write_bytes(float_tflite.read_bytes()[:600])
    with pytest.raises(InputError, match=r"damaged|refuses"):
        Model(path, precision_mode="fp16")


def test_a_litert_without_options_for_the_cpu_is_told_to_be_upgraded(float_tflite: Path) -> None:
    """In a child, for a module that failed to import is not tried twice."""
    script = """
import sys, types
old = types.ModuleType("ai_edge_litert.compiled_model")
old.CompiledModel = object
sys.modules["ai_edge_litert.compiled_model"] = old
from ghostedge_runtime import Model
from ghostedge_runtime.errors import MissingDependencyError
try:
    Model(sys.argv[1], precision_mode="fp16")
except MissingDependencyError as error:
    print(error)
"""
    child = subprocess.run(
        [sys.executable, "-c", script, str(float_tflite)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "pip install -U ai-edge-litert" in child.stdout
    assert "options for the CPU" in child.stdout


@pytest.fixture(scope="module")
def glyphs() -> ModuleType:
    """The generator of the images that the bundled network was trained on."""
    path = Path(__file__).parents[4] / "examples" / "glyphs" / "generate.py"
    spec = importlib.util.spec_from_file_location("glyphs_generator", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def glyphs_float(
    example_checkpoint: Path, glyphs_int8: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The bundled GhostNet 0.5x in float, with its trained weights."""
    convert = pytest.importorskip("ghostedge_convert", reason="converts the trained weights")
    checkpoint = convert.load_checkpoint(example_checkpoint)
    module = convert.build(checkpoint, convert.identify(checkpoint))
    deployed = convert.to_deploy_graph(convert.export_onnx(module, input_size=(64, 64)))
    said = Model(glyphs_int8).metadata
    assert said is not None
    metadata = replace(said, input=InputSpec("NHWC", "float32", normalized=True), quantization=None)
    path = tmp_path_factory.mktemp("glyphs") / "float.tflite"
    path.write_bytes(convert.lower_to_tflite(deployed.model, metadata=metadata).data)
    return path


@needs_half_precision
def test_trained_weights_give_the_same_classes_and_logits_a_little_off(
    glyphs_float: Path, glyphs: ModuleType
) -> None:
    """Some 100 layers round to 11 bits each: logits move by thousandths of the largest."""
    exact, half = Model(glyphs_float), Model(glyphs_float, precision_mode="fp16")
    batches = [exact.preprocess(glyphs.draw_image(4, index)) for index in range(144)]
    a, b = (np.concatenate([m.logits(batch) for batch in batches]) for m in (exact, half))
    moved = np.abs(a - b).max(axis=1) / np.abs(a).max(axis=1)
    assert HALF_STEP < np.median(moved) < 10 * HALF_STEP
    assert np.mean(a.argmax(axis=1) == b.argmax(axis=1)) >= 0.99
