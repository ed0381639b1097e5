"""A recipe says which layers are float; what is wrong in one is named with its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostedge.records.recipe import FileRecipe, Recipe, Rule, read_recipe, rules_for
from ghostedge_runtime.errors import InputError

LAYERS = ("stem/Conv", "blocks.0.a/Conv", "blocks.0.b/Conv", "blocks.10.a/Conv", "head[0]/Gemm")


def written(tmp_path: Path, document: Any) -> Path:
    path = tmp_path / "by hand.json"
    path.write_text(json.dumps(document))
    return path


def document(**changes: Any) -> dict[str, Any]:
    rule = {"layers": "blocks.0.*", "precision": "float32"}
    entry = {"backend": "litert", "threads": 2, "rules": [rule]} | changes
    return {"tuning_version": 1, "files": {"tflite": entry}}


def test_the_last_rule_that_names_a_layer_counts_and_others_are_int8(tmp_path: Path) -> None:
    rules = [
        {"layers": "blocks.*", "precision": "float32"},
        {"layers": "blocks.0.b/*", "precision": "int8"},
    ]
    path = written(tmp_path, document(rules=rules))
    file = read_recipe(path).files["tflite"]
    assert file.threads == 2
    assert file.float_layers(LAYERS, path) == ("blocks.0.a/Conv", "blocks.10.a/Conv")


def test_threads_may_be_left_out(tmp_path: Path) -> None:
    entry = document()
    del entry["files"]["tflite"]["threads"]
    assert read_recipe(written(tmp_path, entry)).files["tflite"].threads == 1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ([], "it has no tuning_version"),
        ({"files": {}}, "it has no tuning_version"),
        ({"tuning_version": 2, "files": {}}, "tuning_version is 2, this GhostEdge reads 1"),
        ({"tuning_version": True, "files": {}}, "tuning_version is True"),
        ({"tuning_version": 1, "files": {}}, "files: names no file by its format"),
        ({"tuning_version": 1, "files": {"tflight": {}}}, "no such format (closest: tflite)"),
        ({"tuning_version": 1, "fils": {}}, "there is no key 'fils' (closest: files)"),
        (document(treads=1), "files.tflite: there is no key 'treads' (closest: threads)"),
        (document(threads=0), "files.tflite.threads is 0, not a whole number from 1 on"),
        (document(backend="onnxruntime"), "files.tflite.backend is 'onnxruntime', which does not"),
        (document(split=1), "files.tflite.split is 1, neither true nor false"),
        (document(rules=3), "rules"),
        (document(rules=["x"]), "files.tflite.rules[0]: it is no object"),
        (
            document(rules=[{"layers": "*", "precision": "fp16"}]),
            "files.tflite.rules[0].precision is 'fp16'",
        ),
        (
            document(rules=[{"layer": "*", "precision": "int8"}]),
            "files.tflite.rules[0]: there is no key 'layer' (closest: layers)",
        ),
    ],
)
def test_a_mistake_is_refused_with_its_place(tmp_path: Path, wrong: Any, said: str) -> None:
    with pytest.raises(InputError) as refused:
        read_recipe(written(tmp_path, wrong))
    assert said in str(refused.value)
    assert "by hand.json" in str(refused.value)


def test_a_pattern_that_names_no_layer_is_refused_with_the_closest(tmp_path: Path) -> None:
    recipe = FileRecipe((Rule("blocks.0.a/conv", "float32"),), "litert")
    with pytest.raises(InputError, match=r"names no layer \(closest: blocks.0.a/Conv\)"):
        recipe.float_layers(LAYERS, tmp_path)


def test_neighbours_with_a_name_of_their_own_take_one_rule() -> None:
    assert rules_for(LAYERS, LAYERS[1:3]) == (Rule("blocks.0.*", "float32"),)
    assert rules_for(LAYERS, LAYERS) == (Rule("*", "float32"),)
    assert rules_for(LAYERS, LAYERS[4:]) == (Rule("head[[]0]/Gemm", "float32"),)


names = st.lists(st.text("ab.*[]?/", min_size=1, max_size=5), unique=True, min_size=1, max_size=7)


@given(names, st.data())
def test_rules_name_just_the_layers_that_they_are_made_for(
    layers: list[str], data: st.DataObject
) -> None:
    keep = [layer for layer in layers if data.draw(st.booleans())]
    rules = rules_for(layers, keep)
    recipe = FileRecipe(rules, "litert")
    assert recipe.float_layers(layers, Path("it")) == tuple(keep)
    assert len(rules) <= len(keep)


def test_what_is_written_is_read_as_it_was(tmp_path: Path) -> None:
    recipe = Recipe({"onnx": FileRecipe(rules_for(LAYERS, LAYERS[:2]), "onnxruntime", 4)})
    path = tmp_path / "tuning.json"
    path.write_text(recipe.to_json())
    assert read_recipe(path) == recipe
