"""Arguments that contradict each other are refused before any work."""

from __future__ import annotations

import inspect
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import ghostedge
from ghostedge.conversion.api import ConvertKeywords
from ghostedge.conversion.option_fields import ModelKind
from ghostedge.conversion.option_groups import Int8Options
from ghostedge.conversion.options import OPTIONS, ConvertOptions, default_output
from ghostedge.conversion.source_options import artefact_name
from ghostedge_quantize import Int8Settings
from ghostedge_runtime.errors import InputError


def options(**changed: Any) -> ConvertOptions:
    return ConvertOptions.of("m.pt", output="out", **changed)


def test_int8_without_calibration_images_is_refused_with_what_to_pass() -> None:
    with pytest.raises(InputError) as refused:
        options(int8=True)
    assert "--calib FOLDER" in str(refused.value)
    assert refused.value.exit_code == 2


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"corruptions": ("all",)}, "no labelled images to corrupt"),
        ({"corruptions": ("haze", "fog"), "eval": "set"}, "there is no corruption 'fog'"),
        ({"corruptions": ("all",), "eval": "set", "corruption_images": 0}, "at least 1, got 0"),
    ],
)
def test_corruptions_are_known_and_have_labelled_images(
    changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message) as refused:
        options(**changed)
    assert "--corruption" in str(refused.value.where)
    assert options(corruptions=("haze", "noise"), eval="set").checks.corruption_images == 500


def test_calibration_images_are_of_use_without_int8_too() -> None:
    assert options(calib=Path("photos")).checks.calib == Path("photos")


def test_to_be_strict_takes_images() -> None:
    with pytest.raises(InputError, match="--strict") as refused:
        options(strict=True)
    assert "--calib FOLDER" in str(refused.value)
    assert options(strict=True, eval=Path("labelled")).checks.strict


@pytest.mark.parametrize(
    ("changed", "flag"),
    [
        ({"ranges": "mse"}, "--ranges"),
        ({"equalize": False}, "--no-equalize"),
        ({"bias_correction": "none"}, "--bias-correction"),
        ({"rounding": "adaptive"}, "--rounding"),
        ({"per_channel": False}, "--per-tensor"),
        ({"output_type": "int8"}, "--output-type"),
    ],
)
def test_how_int8_is_made_cannot_be_chosen_where_none_is(
    changed: dict[str, Any], flag: str
) -> None:
    with pytest.raises(InputError, match=flag) as refused:
        options(precision=("float16",), **changed)
    assert "add --int8" in str(refused.value)
    assert options(int8=True, calib=Path("photos"), **changed)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"batch": 0}, "--batch"),
        ({"threads": -1}, "--threads"),
        ({"calib_images": 0}, "--calib-images"),
        ({"ranges": "guess"}, "--ranges"),
        ({"bias_correction": "half"}, "--bias-correction"),
        ({"rounding": "up"}, "--rounding"),
        ({"output_type": "uint4"}, "--output-type"),
    ],
)
def test_a_value_out_of_range_is_refused_by_its_flag(changed: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError, match=named):
        options(**changed)


def test_int8_in_the_list_needs_calibration_images_too() -> None:
    with pytest.raises(InputError, match="--precision: int8 needs images"):
        options(precision=("int8",))


@pytest.mark.parametrize(
    ("precision", "said"),
    [
        (("int4",), "there is no 'int4'.*float32, float16, dynamic, int8"),
        (("float16", ""), "there is no ''"),
        (("float16", "dynamic", "float16"), "float16 is listed twice"),
    ],
)
def test_a_list_of_precisions_that_makes_no_sense_is_refused(
    precision: tuple[Any, ...], said: str
) -> None:
    with pytest.raises(InputError, match=f"(?s)--precision: .*{said}"):
        options(precision=precision)


@pytest.mark.parametrize("given", [{"requantize": True}, {"ranges": "mse"}])
def test_flags_of_a_quantized_onnx_wait_until_the_file_says_whether_it_is_one(
    given: dict[str, Any],
) -> None:
    options = ConvertOptions.of("m.onnx", output="out", **given)
    with pytest.raises(InputError):
        options.check_float_model()
    with pytest.raises(InputError):
        ConvertOptions.of("m.pt", output="out", **given)


@pytest.mark.parametrize(
    ("model", "given", "named"),
    [
        ("-", {}, "MODEL: - stands for no file"),
        ("w.pt", {"factory_args": "{}"}, "--factory-args: there is no factory"),
        ("w.pt", {"name": "a/b"}, "--name: files cannot be called 'a/b'"),
        ("w.pt", {"name": " "}, "--name: files cannot be called ' '"),
    ],
)
def test_a_model_that_is_not_told_is_refused(model: str, given: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError, match=named):
        ConvertOptions.of(model, output="out", **given)


@pytest.mark.parametrize(
    ("model", "factory", "name"),
    [
        ("-", "net.py:make", "make"),
        ("-", "package.net:Net.small", "small"),
        ("a/w.pth", "net.py:make", "w"),
        ("hf-hub:owner/name.v1@abc", None, "name.v1"),
        ("hf-hub:name", None, "name"),
        ("program.pt2", None, "program"),
    ],
)
def test_artefacts_are_named_after_whatever_model_is(
    model: str, factory: str | None, name: str
) -> None:
    given = ConvertOptions.of(model, output="out", factory=factory)
    assert given.source.artefact_name == name


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ({}, ("float32",)),
        ({"precision": ("dynamic", "float16")}, ("float32", "float16", "dynamic")),
        ({"int8": True, "calib": Path("c")}, ("float32", "int8")),
        ({"int8": True, "precision": ("int8",), "calib": Path("c")}, ("float32", "int8")),
        (
            {"int8": True, "precision": ("dynamic", "float32"), "calib": Path("c")},
            ("float32", "dynamic", "int8"),
        ),
    ],
)
def test_float32_is_always_made_and_first(given: dict[str, Any], made: tuple[str, ...]) -> None:
    assert options(**given).files.precisions == made


def test_the_front_door_and_the_quantizer_have_the_same_defaults() -> None:
    for field in fields(Int8Settings):
        assert getattr(Int8Options, field.name) == field.default, field.name


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("model.pt", "model"),
        ("a/b/ghost.pth.tar", "ghost"),
        ("x.SAFETENSORS", "x"),
        ("weights.v2.pth", "weights.v2"),
        ("last.ckpt", "last"),
        ("arrays.pkl", "arrays"),
        ("plain", "plain"),
        (".pt", ".pt"),
    ],
)
def test_artefacts_are_named_after_the_checkpoint(file: str, name: str) -> None:
    assert artefact_name(Path(file)) == name
    assert default_output(name) == Path(f"{name}_ghostedge")


EVERYTHING: dict[str, Any] = {"int8": True, "calib": Path("photos"), "eval": Path("labelled")}


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"max_drop": 0.5, "int8": False, "calib": None}, "--max-drop: only int8"),
        ({"max_drop": 0.5, "eval": None}, "--max-drop: a drop in accuracy needs labelled"),
        ({"max_drop": -0.5}, "--max-drop: must be from 0 to 100, got -0.5"),
        ({"max_drop": float("nan")}, "--max-drop: must be from 0 to 100"),
        ({"min_agreement": 101}, "--min-agreement: must be from 0 to 100, got 101"),
        ({"max_drop": 1, "min_agreement": 99}, "--max-drop and --min-agreement: one budget"),
        ({"max_drop": 1, "guard_minutes": 0}, "--guard-minutes: must be above 0"),
    ],
)
def test_a_budget_that_cannot_be_checked_is_refused(changed: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError, match=named):
        options(**{**EVERYTHING, **changed})


def test_agreement_needs_no_labels_and_a_drop_of_nothing_may_be_asked_for() -> None:
    assert options(int8=True, calib=Path("photos"), min_agreement=99).guard.min_agreement == 99
    assert options(**EVERYTHING, max_drop=0).guard.max_drop == 0


def test_an_onnx_has_no_use_for_the_flag_of_pickles() -> None:
    with pytest.raises(InputError, match=r"--unsafe-pickle: an \.onnx holds no pickle"):
        ConvertOptions.of("m.onnx", output="out", unsafe_pickle=True)


@pytest.mark.parametrize("chosen", [("onnx",), ("onnx", "tflite"), ("tflite", "onnx")])
def test_formats_are_listed_in_any_order_with_onnx_among_them(chosen: tuple[str, ...]) -> None:
    assert options(format=chosen).files.format == chosen


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        (("tflite",), "onnx is not among them(?s:.*)use onnx,tflite"),
        (("onnx", "tflit"), r"there is no 'tflit' \(closest: tflite\)"),
        (("onnx", "onnx"), "onnx is listed twice"),
        ((), "onnx is not among them"),
    ],
)
def test_a_list_of_formats_that_makes_no_sense_is_refused(
    chosen: tuple[str, ...], said: str
) -> None:
    with pytest.raises(InputError, match=f"--format: {said}"):
        options(format=chosen)


@pytest.mark.parametrize("name", ["format", "precision", "output_names"])
def test_a_text_where_a_list_is_wanted_is_not_taken_letter_by_letter(name: str) -> None:
    with pytest.raises(InputError, match=rf"(?s)'a,b' is a text.*write {name}=\['a', 'b'\]"):
        options(**{name: "a,b"})


def test_a_keyword_that_does_not_exist_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="no keyword argument 'ragnes'"):
        options(ragnes="mse")


@pytest.mark.parametrize(
    ("source", "changed", "said"),
    [
        (ModelKind.KERAS, {"arch": "x"}, "--arch: MODEL is no checkpoint of the family"),
        (ModelKind.FACTORY, {"ema": True}, "--ema: MODEL is no checkpoint of the family"),
        (ModelKind.TORCHSCRIPT, {"custom_objects": "c.py"}, "--custom-objects: MODEL is no Keras"),
        (
            ModelKind.QUANTIZED_ONNX,
            {"equalize": False},
            "--no-equalize: MODEL is an .onnx .* already",
        ),
        (ModelKind.QUANTIZED_ONNX, {"output_names": ["y"]}, "--output-names: MODEL is an .onnx"),
    ],
)
def test_what_has_no_effect_on_a_kind_of_model_is_refused_by_its_flag(
    source: ModelKind, changed: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        ConvertOptions.of("m.onnx", **changed).check_effect(source)


def test_what_a_kind_of_model_has_a_use_for_is_taken() -> None:
    ConvertOptions.of("w.pt", factory="n.py:make", ema=True).check_effect(
        ModelKind.FACTORY_WITH_WEIGHTS
    )
    ConvertOptions.of("q.onnx", calib="photos", requantize=True).check_effect(
        ModelKind.QUANTIZED_ONNX
    )


def test_every_option_has_a_keyword_and_every_keyword_an_option() -> None:
    assert set(ConvertKeywords.__annotations__) == set(OPTIONS)


def test_convert_shows_every_keyword_with_its_default_and_what_it_does() -> None:
    shown = inspect.signature(ghostedge.convert).parameters
    assert list(shown)[:2] == ["model", "example_input"]
    assert {name: shown[name].default for name in OPTIONS} == {
        name: option.default for name, option in OPTIONS.items()
    }
    words = ghostedge.convert.__doc__ or ""
    assert "equalize: Rescale channels first" in words
    assert "int8: Also write int8 ONNX and TFLite; needs ``calib``." in words
