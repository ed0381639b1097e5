"""From the words of a command line to the cases that are measured."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ghostedge_runtime.bench.inference import MAX_IMAGES, PRESETS, preset_settings
from ghostedge_runtime.bench.job import Variants, make_job
from ghostedge_runtime.errors import ImageError, InputError, ModelFileError
from ghostedge_runtime.record import Settings


@pytest.fixture
def many_images(tmp_path: Path) -> Path:
    """A hundred small images in two folders."""
    for name in ("a", "b"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(50):
            picture = Image.fromarray(np.zeros((2, 2, 3), np.uint8))
            picture.save(tmp_path / "data" / name / f"{number:02}.png")
    return tmp_path / "data"


def test_a_case_holds_the_files_hash_and_its_formats_usual_backend(
    int8_tflite: Path, float_onnx: Path
) -> None:
    job = make_job([int8_tflite, float_onnx])
    assert [(case.model, case.backend, case.threads) for case in job.cases] == [
        (str(int8_tflite), "litert", 1),
        (str(float_onnx), "onnxruntime", 1),
    ]
    first = job.cases[0]
    assert first.sha256 == hashlib.sha256(int8_tflite.read_bytes()).hexdigest()
    assert first.bytes == int8_tflite.stat().st_size
    assert job.files[first.sha256] == str(int8_tflite)
    assert job.settings == Settings()


def test_every_model_meets_every_backend_of_its_format_with_every_number_of_threads(
    int8_tflite: Path, float_onnx: Path
) -> None:
    job = make_job(
        [int8_tflite, float_onnx],
        Variants(threads=(1, 2), backends=("litert", "litert-reference", "onnxruntime")),
    )
    assert [(case.backend, case.threads) for case in job.cases] == [
        ("litert", 1),
        ("litert", 2),
        ("litert-reference", 1),
        ("litert-reference", 2),
        ("onnxruntime", 1),
        ("onnxruntime", 2),
    ]


def test_half_precision_is_a_case_where_a_backend_has_it(
    float_tflite: Path, float_onnx: Path
) -> None:
    job = make_job([float_tflite, float_onnx], Variants(precision_modes=("default", "fp16")))
    assert [(case.backend, case.precision_mode) for case in job.cases] == [
        ("litert", "default"),
        ("litert", "fp16"),
        ("onnxruntime", "default"),
    ]


def test_half_precision_is_no_case_of_a_file_without_floats(
    float_tflite: Path, glyphs_int8: Path
) -> None:
    modes = ("default", "fp16")
    job = make_job([float_tflite, glyphs_int8], Variants(precision_modes=modes))
    assert [case.precision_mode for case in job.cases] == ["default", "fp16", "default"]
    with pytest.raises(InputError, match=r"int8\.tflite.*litert in fp16") as raised:
        make_job([float_tflite, glyphs_int8], Variants(precision_modes=("fp16",)))
    assert raised.value.remedy == "what does: litert, litert-reference"


def test_one_file_may_be_named_twice(int8_tflite: Path) -> None:
    job = make_job([int8_tflite, int8_tflite])
    assert job.cases[0] == job.cases[1]
    assert len(job.files) == 1


def test_a_backend_that_runs_none_of_the_files_is_refused(int8_tflite: Path) -> None:
    with pytest.raises(InputError, match="'onnxruntime' runs none of the files") as raised:
        make_job([int8_tflite], Variants(backends=("litert", "onnxruntime")))
    assert ".onnx onnxruntime" in str(raised.value.remedy)


def test_half_precision_that_runs_none_of_the_files_is_refused(float_onnx: Path) -> None:
    with pytest.raises(InputError, match="'fp16' runs none of the files"):
        make_job([float_onnx], Variants(precision_modes=("default", "fp16")))


def test_a_file_that_nothing_asked_for_runs_is_refused_by_its_name(
    int8_tflite: Path, float_onnx: Path
) -> None:
    with pytest.raises(InputError, match=r"float\.onnx.*none of what was asked for") as raised:
        make_job([int8_tflite, float_onnx], Variants(backends=("litert",)))
    assert raised.value.remedy == "what does: onnxruntime, openvino, openvino in fp16"


def test_what_is_no_model_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="no such file"):
        make_job([tmp_path / "absent.tflite"])
    (tmp_path / "weights.pt").write_bytes(b"weights")
    with pytest.raises(ModelFileError, match="checkpoint"):
        make_job([tmp_path / "weights.pt"])


@pytest.mark.parametrize("threads", [(), (1, 0)])
def test_threads_that_make_no_sense_are_refused(
    int8_tflite: Path, threads: tuple[int, ...]
) -> None:
    with pytest.raises(InputError, match="threads must be whole numbers from 1 on"):
        make_job([int8_tflite], Variants(threads=threads))


def test_no_model_is_refused() -> None:
    with pytest.raises(InputError, match="no model is named"):
        make_job([])


def test_inputs_are_spread_over_the_whole_data_folder(int8_tflite: Path, many_images: Path) -> None:
    job = make_job([int8_tflite], data=many_images)
    assert len(job.inputs) == MAX_IMAGES == job.settings.images
    assert len(set(job.inputs)) == MAX_IMAGES
    of_first = sum(Path(image).parent.name == "a" for image in job.inputs)
    assert of_first == MAX_IMAGES // 2
    assert job.data == str(many_images)


def test_a_folder_without_images_is_refused(int8_tflite: Path, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no image"):
        make_job([int8_tflite], data=tmp_path)


def test_a_preset_has_the_rules_bounds() -> None:
    mobile = preset_settings("mlperf-mobile", cpus=(0,))
    assert (mobile.min_runs, mobile.min_seconds) == (1024, 60.0)
    assert (mobile.preset, mobile.cpus) == ("mlperf-mobile", (0,))
    assert PRESETS["quick"].min_seconds < Settings().min_seconds


def test_a_preset_that_was_changed_no_longer_carries_its_name() -> None:
    changed = preset_settings("mlperf-mobile", min_seconds=5.0)
    assert (changed.min_seconds, changed.min_runs, changed.preset) == (5.0, 1024, None)
    same = preset_settings("mlperf-mobile", min_runs=1024)
    assert same.preset == "mlperf-mobile"


def test_an_unknown_preset_is_refused_with_those_that_are() -> None:
    with pytest.raises(InputError, match="no preset 'fast'") as raised:
        preset_settings("fast")
    assert raised.value.remedy == "one of quick, mlperf-mobile"


@pytest.mark.parametrize(
    "wrong", [{"min_runs": 0}, {"min_seconds": -1.0}, {"max_warmup_seconds": -1.0}, {"cpus": ()}]
)
def test_bounds_that_no_measurement_can_keep_are_refused(
    int8_tflite: Path, wrong: dict[str, float]
) -> None:
    with pytest.raises(InputError):
        make_job([int8_tflite], settings=Settings(**wrong))  # type: ignore[arg-type]  # wrong on purpose
