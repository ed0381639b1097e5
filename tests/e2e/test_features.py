"""``ghostedge features`` on real weights: figures, files, what is refused, what the base needs."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnxruntime import quantization as ort
from PIL import Image

from ghostedge.records.manifest import Manifest
from ghostedge_convert import (
    build,
    detect_architecture,
    embed_onnx_metadata,
    export_onnx,
    load_checkpoint,
    read_onnx_metadata,
    resolve_preprocessing,
    to_deploy_graph,
)
from ghostedge_convert.architectures.ghostnet import GhostNet
from ghostedge_quantize import Int8Settings, prepare
from ghostedge_runtime import images as runtime_images
from ghostedge_runtime.metadata import InputSpec, ModelMetadata, QuantizationInfo

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
GHOST = "blocks.1.0.ghost1"
DEFAULT = [
    "blocks.1.0.ghost1/Concat",
    "blocks.3.0.ghost1/Concat",
    "blocks.5.0.ghost1/Concat",
    "blocks.7.0.ghost1/Concat",
    "blocks.8.3.ghost2/Concat",
]
TORCH_FREE = """
import sys
from ghostedge.cli import main
try:
    main()
except SystemExit as stop:
    code = stop.code
print([m for m in ("torch", "onnx", "onnxruntime", "matplotlib") if m in sys.modules],
      file=sys.stderr)
sys.exit(code)
"""


def features(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", TORCH_FREE, "features", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def found(*arguments: object, output: Path) -> dict[str, Any]:
    done = features(*arguments, "-o", output, "--json")
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def refused(*arguments: object, cwd: Path) -> str:
    """The message; nothing may have been written."""
    before = sorted(cwd.iterdir())
    done = features(*arguments, cwd=cwd)
    assert done.returncode == 2, done.stdout
    assert "Traceback" not in done.stderr
    assert sorted(cwd.iterdir()) == before
    return done.stderr


@pytest.fixture(scope="module")
def of_one_class(trained: Any, trained_test: Path) -> list[Path]:
    """The test images of the seventh class, which is CIFAR-10's frog."""
    return sorted((trained_test / trained.labels[6]).iterdir())


@pytest.fixture(scope="module")
def picture(of_one_class: list[Path]) -> Path:
    return of_one_class[0]


@pytest.fixture(scope="module")
def against_tflite(
    converted: Manifest, picture: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], Path]:
    folder = tmp_path_factory.mktemp("features") / "out"
    model, int8 = (converted.folder / f"model{end}" for end in (".onnx", "_int8.tflite"))
    return found(model, picture, "--against", int8, output=folder), folder


def test_a_network_and_its_int8_file_are_close_in_every_layer(
    against_tflite: tuple[dict[str, Any], Path],
) -> None:
    document, _ = against_tflite
    assert [layer["name"] for layer in document["layers"]] == DEFAULT
    for layer in document["layers"][:4]:
        difference = layer["difference"]
        assert difference["sqnr_db"] > 20
        assert difference["channel_db"] > 20
        assert difference["cosine"] > 0.995
        low, high = difference["scale"]
        assert 0 < low < high / 1.5  # equalization did rescale
    assert document["rescaled"] is True
    assert document["unmatched"] == []
    assert document["notes"] == []


def test_the_onnx_file_shows_what_the_tflite_shows(
    against_tflite: tuple[dict[str, Any], Path],
    converted: Manifest,
    picture: Path,
    tmp_path: Path,
) -> None:
    model, int8 = (converted.folder / f"model{end}" for end in (".onnx", "_int8.onnx"))
    other = found(model, picture, "--against", int8, output=tmp_path / "out")
    for one, two in zip(against_tflite[0]["layers"], other["layers"], strict=True):
        for figure in ("sqnr_db", "channel_db"):
            # Within one step per layer of each other.
            assert one["difference"][figure] == pytest.approx(two["difference"][figure], abs=1.5)


def test_the_float_file_shows_what_the_checkpoint_shows(
    trained_checkpoint: Path, converted: Manifest, picture: Path, tmp_path: Path
) -> None:
    against = ("--against", converted.folder / "model.tflite", "--layers", "*/Add,Relu")
    few = ("--max-channels", 1)
    document = found(trained_checkpoint, picture, *against, *few, output=tmp_path / "out")
    assert document["model"]["format"] == "checkpoint"
    assert document["unmatched"] == document["notes"] == []
    assert document["rescaled"] is False
    assert len(document["layers"]) == 17  # every bottleneck's sum, and the stem
    for layer in document["layers"]:
        assert layer["difference"]["sqnr_db"] is None or layer["difference"]["sqnr_db"] > 90


def test_the_folder_is_what_its_index_says(
    against_tflite: tuple[dict[str, Any], Path],
) -> None:
    document, folder = against_tflite
    assert sorted(file.name for file in folder.iterdir()) == document["files"]
    stored = json.loads((folder / "features.json").read_text())
    assert stored == {key: value for key, value in document.items() if key != "folder"}
    for file in folder.glob("*.png"):
        with Image.open(file) as image:
            image.load()
    with Image.open(folder / document["images"][0]["picture"]) as image:
        assert image.size == (64, 64)
    page = (folder / "index.html").read_text()
    assert all(name in page for name in document["files"] if name.endswith(".png"))


def test_again_gives_the_same_bytes_in_the_same_place(
    against_tflite: tuple[dict[str, Any], Path], converted: Manifest, picture: Path
) -> None:
    _, folder = against_tflite
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    model, int8 = (converted.folder / f"model{end}" for end in (".onnx", "_int8.tflite"))
    found(model, picture, "--against", int8, output=folder)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_a_tflite_alone_needs_the_base_install_alone(
    converted: Manifest, trained: Any, of_one_class: list[Path], tmp_path: Path
) -> None:
    model = converted.folder / "model_int8.tflite"
    images = of_one_class[:2]
    channels = round(48 * trained.width)
    done = features(model, *images, "--layers", GHOST, "--max-channels", 8, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip().endswith("[]")
    document = json.loads((tmp_path / "out" / "features.json").read_text())
    assert [layer["image"] for layer in document["layers"]] == [0, 1]
    for layer in document["layers"]:
        assert (layer["shape"], layer["primary"]) == ([channels, 32, 32], channels // 2)
        assert len(layer["drawn"]) == 8
        assert [b - a for a, b in zip(layer["drawn"][::2], layer["drawn"][1::2], strict=True)] == [
            channels // 2
        ] * 4
        assert layer["pictures"]["against"] is None


def test_the_list_names_every_layer_that_is_whole_alike_in_all_formats(
    trained_checkpoint: Path, converted: Manifest
) -> None:
    names: list[set[str]] = []
    for model in (
        trained_checkpoint,
        *(converted.folder / f"model{end}" for end in (".onnx", ".tflite", "_int8.tflite")),
    ):
        done = features(model, "--list", "--json")
        assert done.returncode == 0, done.stderr
        listed = json.loads(done.stdout)
        whole = sum(layer["primary"] is not None for layer in listed)
        # Two a bottleneck; the first of them is in halves in a float TFLite.
        assert whole == (16 if model.name == "model.tflite" else 32)
        names.append({layer["name"] for layer in listed})
    assert names[0] == names[1]
    halves = {name for name in names[2] if "/half_" in name}
    assert names[2] - halves <= names[0]
    assert "blocks.0.0.ghost1/Concat" in names[0] - names[2]
    assert names[0] <= names[3]
    # What int8 has besides: the normalisation, and how the first layers are laid out.
    extra = ("image_shifted", "_quantized/reshaped", "_quantized/raw")
    assert all(name.startswith(extra) or name.endswith(extra) for name in names[3] - names[0])


def deploy_of(weights: Path, folder: Path) -> tuple[onnx.ModelProto, ModelMetadata]:
    checkpoint = load_checkpoint(weights)
    preprocessing = resolve_preprocessing(checkpoint).preprocessing
    module = build(checkpoint, detect_architecture(checkpoint).architecture)
    graph = to_deploy_graph(export_onnx(module, input_size=preprocessing.input_size)).model
    spec = InputSpec("NCHW", "float32", normalized=True)
    metadata = ModelMetadata(preprocessing, spec, source=checkpoint.source)
    (folder / "float.onnx").write_bytes(embed_onnx_metadata(graph, metadata).SerializeToString())
    return graph, metadata


def batches(files: Sequence[Path], metadata: ModelMetadata) -> list[np.ndarray]:
    pixels = np.stack([runtime_images.prepare(file, metadata.preprocessing) for file in files])
    values = runtime_images.normalize(pixels, metadata.preprocessing).transpose(0, 3, 1, 2)
    return [np.ascontiguousarray(each[None]) for each in values]


@pytest.fixture
def gone_wrong(
    trained_checkpoint: Path, trained_calib: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A crude int8 of weights that are hard on it, beside ``float.onnx``."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    rescaled = importlib.import_module("support.hostile").rescaled
    weights = dict(load_checkpoint(trained_checkpoint).weights)
    torch.save(rescaled(weights, 16.0, np.random.default_rng(0)), tmp_path / "hostile.pt")
    (tmp_path / "config.json").write_bytes((trained_checkpoint.parent / "config.json").read_bytes())
    graph, metadata = deploy_of(tmp_path / "hostile.pt", tmp_path)
    settings = Int8Settings(
        ranges="minmax", equalize=False, per_channel=False, bias_correction="none"
    )
    files = sorted(trained_calib.rglob("*.*"))[:16]
    prepared = prepare(
        graph, batches(files, metadata), settings, preprocessing=metadata.preprocessing
    )
    int8 = ModelMetadata(
        metadata.preprocessing,
        InputSpec("NHWC", "uint8", normalized=False),
        precision="int8",
        quantization=QuantizationInfo("minmax", 16, "float32", per_channel=False),
        source=metadata.source,
    )
    bad = tmp_path / "bad_int8.onnx"
    bad.write_bytes(embed_onnx_metadata(prepared.qdq(()), int8).SerializeToString())
    return bad


def test_a_quantization_gone_wrong_shows(
    against_tflite: tuple[dict[str, Any], Path], gone_wrong: Path, picture: Path, tmp_path: Path
) -> None:
    model = tmp_path / "float.onnx"
    document = found(model, picture, "--against", gone_wrong, output=tmp_path / "out")
    assert document["rescaled"] is False  # its own metadata says so
    for good, wrong in zip(against_tflite[0]["layers"][:4], document["layers"], strict=False):
        assert good["name"] == wrong["name"]
        assert wrong["difference"]["channel_db"] < good["difference"]["channel_db"] - 10
    # Channels that are gone altogether are named first.
    assert document["layers"][0]["difference"]["worst"][0]["sqnr_db"] < 1


class Reader(ort.CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    def __init__(self, arrays: list[np.ndarray]) -> None:
        self._rest = iter([{"input": array} for array in arrays])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._rest, None)


def test_another_makers_quantization_that_drops_relus_is_matched_all_the_same(
    converted: Manifest, trained_calib: Path, picture: Path, tmp_path: Path
) -> None:
    source = converted.folder / "model.onnx"
    metadata = read_onnx_metadata(onnx.load(source))
    assert metadata is not None
    files = sorted(trained_calib.rglob("*.*"))[:16]
    ort.quantize_static(
        source,
        tmp_path / "foreign.onnx",
        Reader(batches(files, metadata)),
        per_channel=True,
    )
    model = onnx.load(tmp_path / "foreign.onnx")
    assert "Relu" not in {node.op_type for node in model.graph.node}
    document = found(
        source,
        picture,
        "--against",
        tmp_path / "foreign.onnx",
        "--layers",
        "Relu,blocks.0.0.ghost1.primary_conv.2/Relu,blocks.0.0.ghost2",
        output=tmp_path / "out",
    )
    assert document["unmatched"] == []
    for layer in document["layers"]:
        assert layer["difference"]["sqnr_db"] > 20


def test_what_cannot_be_done_is_refused_and_nothing_is_written(
    converted: Manifest, picture: Path, tmp_path: Path
) -> None:
    model = converted.folder / "model.tflite"
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(picture.read_bytes()[:100])
    own = tmp_path / "own"
    own.mkdir()
    (own / "thesis.txt").write_text("mine")
    for arguments, words in (
        ((model, picture, "--layers", "blocks.1.0.ghots1"), "closest: blocks.1.0.ghost2/Concat"),
        ((model, broken), "broken.jpg"),
        ((model, tmp_path / "none.jpg"), "none.jpg: it cannot be read"),
        ((model, picture, "--against", picture), "error: "),
        ((tmp_path / "none.tflite", picture), "there is no such file"),
        ((model, picture, "-o", own), "'thesis.txt', which GhostEdge did not write"),
        ((model,), "give at least one IMAGE"),
        ((model, picture, "--max-channels", "0"), "--max-channels"),
    ):
        assert words in refused(*arguments, cwd=tmp_path)
    assert (own / "thesis.txt").read_text() == "mine"


def test_another_networks_file_is_refused(
    example_checkpoint: Path, trained: Any, picture: Path, tmp_path: Path
) -> None:
    """A network of another width: the first layer that differs is named."""
    torch.manual_seed(0)
    wide = GhostNet(width=1.0, num_classes=len(trained.labels)).state_dict()
    torch.save(wide, tmp_path / "wide.pth")
    int8 = example_checkpoint.with_name("ghostnet_050_glyphs_int8.tflite")
    message = refused(tmp_path / "wide.pth", picture, "--against", int8, cwd=tmp_path)
    assert "it is of another network: Relu is [8, 32, 32]" in message


def test_a_damaged_tflite_is_refused_at_any_length(converted: Manifest, tmp_path: Path) -> None:
    data = (converted.folder / "model_int8.tflite").read_bytes()
    for length in (7, 100, 5000, len(data) // 2, len(data) - 1000):
        (tmp_path / "cut.tflite").write_bytes(data[:length])
        refused(tmp_path / "cut.tflite", "--list", cwd=tmp_path)


def test_a_conversions_folder_is_not_replaced(converted: Manifest, picture: Path) -> None:
    model = converted.folder / "model.tflite"
    before = sorted(file.name for file in converted.folder.iterdir())
    done = features(model, picture, "-o", converted.folder)
    assert done.returncode == 2
    assert "did not write there" in done.stderr
    assert sorted(file.name for file in converted.folder.iterdir()) == before
