"""Bad images stop a conversion before it begins, or are left out; later they cost no file."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import ghostedge
from ghostedge.commands.convert import command
from ghostedge.conversion import convert, stages
from ghostedge_runtime import image_check
from ghostedge_runtime.errors import ImageError, InputError

SHAPE = (1, 3, 16, 16)
QUANTIZED = Path(__file__).parents[1] / "convert" / "qdq_in" / "data" / "nncf_mixed.onnx"


class Net(torch.nn.Module):
    """Two classes from a convolution."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = torch.nn.Conv2d(3, 4, 3, 2)
        self.head = torch.nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.head(self.conv(x).relu().mean((2, 3)))
        return scores


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """Three images of each of two classes."""
    pixels = np.random.default_rng(0)
    for name in "ab":
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in range(3):
            image = Image.fromarray(pixels.integers(0, 256, (20, 20, 3)).astype(np.uint8))
            image.save(tmp_path / "set" / name / f"{number}.png")
    return tmp_path / "set"


def spoil(path: Path) -> Path:
    """Keep header and end, but not the pixels."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + bytes(200) + data[len(data) // 2 + 200 :])
    return path


def cut(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:-100])
    return path


def test_all_bad_images_of_both_folders_are_named_before_any_work(
    labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "calib").mkdir()
    bad = [tmp_path / "calib" / "empty.jpg", cut(labelled / "a" / "1.png")]
    bad[0].touch()
    (tmp_path / "calib" / "good.png").write_bytes((labelled / "a" / "0.png").read_bytes())
    (labelled / "outside.png").write_bytes(b"no image, and no class's")
    monkeypatch.setattr(convert, "_read_float", None)  # it would fail, were it called
    with pytest.raises(ImageError, match="2 of 8 images cannot be used") as caught:
        ghostedge.convert(
            Net(), SHAPE, int8=True, calib=tmp_path / "calib", eval=labelled,
            output=tmp_path / "out",
        )  # fmt: skip
    assert all(str(path) in str(caught.value) for path in bad)
    assert not (tmp_path / "out").exists()


def test_bad_images_are_left_out_on_request_and_named(labelled: Path, tmp_path: Path) -> None:
    bad = [cut(labelled / "a" / "1.png"), spoil(labelled / "b" / "0.png")]
    manifest = ghostedge.convert(
        Net(), SHAPE, eval=labelled, skip_bad_images=True, output=tmp_path / "out"
    )
    assert [each.file for each in manifest.skipped_images] == [str(path) for path in bad]
    assert all("cannot be decoded" in each.reason for each in manifest.skipped_images)
    assert "2 of 6 images left out:" in manifest.notes
    assert [each.accuracy and each.accuracy.images for each in manifest.artefacts] == [4, 4]
    assert manifest.unscored == ()
    kept = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert [each["file"] for each in kept["skipped_images"]] == [str(path) for path in bad]


def test_a_budget_decodes_all_images_first(
    labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_check, "DECODE_SECONDS", -1.0)
    bad = spoil(labelled / "b" / "2.png")
    monkeypatch.setattr(convert, "_read_float", None)  # it would fail, were it called
    with pytest.raises(ImageError, match="1 of 6 images cannot be used") as caught:
        ghostedge.convert(
            Net(), SHAPE, int8=True, calib=labelled, eval=labelled, max_drop=1.0,
            output=tmp_path / "out",
        )  # fmt: skip
    assert str(bad) in str(caught.value)


def test_an_image_found_bad_while_scoring_costs_the_score_and_no_file(
    labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_check, "DECODE_SECONDS", -1.0)
    bad = spoil(labelled / "b" / "2.png")
    torch.jit.script(Net().eval()).save(tmp_path / "net.pt")
    done = CliRunner().invoke(
        command,
        [str(tmp_path / "net.pt"), "--eval", str(labelled), "-o", str(tmp_path / "out"),
         "--input-size", "16"],
        standalone_mode=False,
    )  # fmt: skip
    assert isinstance(done.exception, InputError)
    assert done.exception.exit_code == 2
    assert str(bad) in str(done.exception)
    assert "net.tflite" in done.stdout  # the table
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert str(bad) in manifest["unscored"][0]
    for artefact in manifest["artefacts"]:
        data = (tmp_path / "out" / artefact["file"]).read_bytes()
        assert (len(data), len(zlib.compress(data))) == (
            artefact["bytes"],
            artefact["zipped_bytes"],
        )
        assert artefact["accuracy"] is None
        assert artefact["latency"]["p50_ms"]["value"] > 0
        assert artefact["parity"]["within_budget"]
        assert artefact["parity"]["image_source"] == "5 of 6 evaluation images"


@pytest.mark.parametrize("stage", ["compare", "time_all"])
def test_a_fault_while_scoring_or_timing_is_raised_once_the_files_are_there(
    labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    def fault(*_: object) -> None:
        raise RuntimeError("out of luck")

    monkeypatch.setattr(stages, stage, fault)
    with pytest.raises(RuntimeError, match="out of luck"):
        ghostedge.convert(Net(), SHAPE, eval=labelled, output=tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["unscored"] == ["RuntimeError: out of luck"]
    for artefact in manifest["artefacts"]:
        assert (tmp_path / "out" / artefact["file"]).is_file()
        assert (artefact["parity"] is None) == (stage == "compare")
        assert (artefact["latency"] is None) == (stage == "time_all")


def test_a_quantized_onnx_keeps_its_files_likewise(
    labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_check, "DECODE_SECONDS", -1.0)
    bad = spoil(labelled / "b" / "2.png")
    manifest = ghostedge.convert(QUANTIZED, calib=labelled, output=tmp_path / "out")
    assert [str(bad) in each for each in manifest.unscored] == [True]
    for artefact in manifest.artefacts:
        assert (tmp_path / "out" / artefact.file).is_file()
        assert artefact.parity is not None
        assert artefact.parity.image_source == "5 of 6 images of --calib"
    skipping = ghostedge.convert(
        QUANTIZED, calib=labelled, skip_bad_images=True, output=tmp_path / "out"
    )
    assert [each.file for each in skipping.skipped_images] == [str(bad)]
    assert skipping.unscored == ()
