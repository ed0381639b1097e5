"""Weights from the Hub: the right file, fetched once; its answers as errors; the cache offline."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from ghostedge_convert.sources.hub import fetch
from ghostedge_runtime.errors import CheckpointError, InputError, MissingDependencyError

MODEL = "hf-hub:owner/ghost.v1"


def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def test_the_weights_and_the_config_land_beside_each_other(hub: Any) -> None:
    hub.files = {"README.md": b"#", "config.json": b"{}", "model.safetensors": b"weights"}
    file = fetch(MODEL)
    assert file.path.name == "model.safetensors"
    assert file.path.read_bytes() == b"weights"
    assert file.path.with_name("config.json").read_bytes() == b"{}"
    assert file.origin == "hf-hub:owner/ghost.v1@0123456789ab/model.safetensors"
    assert not any("README" in path for _, path in hub.asked)


def test_what_is_cached_is_not_fetched_again(hub: Any) -> None:
    hub.files = {"config.json": b"{}", "model.safetensors": b"weights"}
    first = fetch(MODEL)
    hub.asked.clear()
    assert fetch(MODEL).path == first.path
    assert not [path for method, path in hub.asked if method == "GET" and "resolve" in path]


def test_a_revision_is_asked_for(hub: Any) -> None:
    hub.files = {"model.safetensors": b"weights"}
    assert fetch(f"{MODEL}@v2").path.read_bytes() == b"weights"
    assert all("/v2" in path for _, path in hub.asked)


@pytest.mark.parametrize(
    ("names", "taken"),
    [
        (["pytorch_model.bin", "model.safetensors"], "model.safetensors"),
        (["pytorch_model.bin", "config.json"], "pytorch_model.bin"),
        (["ghostnet.pth", "config.json"], "ghostnet.pth"),
        (["model.safetensors", "model.safetensors.index.json"], "model.safetensors"),
        (["pytorch_model.bin", "onnx/model.pt"], "pytorch_model.bin"),
    ],
)
def test_the_file_of_the_hubs_own_libraries_comes_first(
    hub: Any, names: list[str], taken: str
) -> None:
    hub.files = dict.fromkeys(names, b"x")
    assert fetch(MODEL).path.name == taken


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["model-00001-of-00002.safetensors", "model.safetensors.index.json"], "sharded"),
        (["a.pth", "b.pth"], "several weights files: a.pth, b.pth"),
        (["README.md", "config.json"], "has no weights; it has README.md, config.json"),
        (["onnx/model.pt"], "has no weights"),
        ([], "has no weights; it has no files"),
    ],
)
def test_a_repository_without_one_weights_file_is_refused(
    hub: Any, names: list[str], said: str
) -> None:
    hub.files = dict.fromkeys(names, b"x")
    with pytest.raises(CheckpointError, match=said) as caught:
        fetch(MODEL)
    assert caught.value.where == MODEL


@pytest.mark.parametrize(
    ("code", "said", "remedy"),
    [
        ("RepoNotFound", "no such repository", "check the name"),
        ("RevisionNotFound", "no such revision", "a branch, a tag"),
        ("GatedRepo", "has to be asked for", "HF_TOKEN"),
    ],
)
def test_the_hubs_refusals_are_told_apart(hub: Any, code: str, said: str, remedy: str) -> None:
    hub.refuses = code
    with pytest.raises(InputError, match=said) as caught:
        fetch(MODEL)
    assert caught.value.exit_code == 2
    assert remedy in str(caught.value.remedy)


@pytest.mark.parametrize(
    "model",
    [
        "hf-hub:",
        "hf-hub:a/b/c",
        "hf-hub:a b",
        "hf-hub:owner/name@",
        "hf-hub:owner/-.-",
        "hf-hub:a/b@../c",
    ],
)
def test_what_is_no_repositorys_name_is_refused_without_asking(hub: Any, model: str) -> None:
    with pytest.raises(InputError, match=r"names no repository|no repository's name"):
        fetch(model)
    assert hub.asked == []


def test_offline_the_cached_copy_is_used(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.files = {"ghostnet.pth": b"weights"}
    fetched = fetch(MODEL)
    hub.asked.clear()
    offline(monkeypatch)
    file = fetch(MODEL)
    assert file.path == fetched.path
    assert any("HF_HUB_OFFLINE is set: the cached copy is used" in note for note in file.notes)
    assert hub.asked == []


def test_offline_and_not_cached_says_both(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    offline(monkeypatch)
    with pytest.raises(InputError, match="HF_HUB_OFFLINE is set, and nothing of it is cached"):
        fetch(MODEL)


def test_a_hub_out_of_reach_leaves_the_cached_copy(hub: Any) -> None:
    hub.files = {"model.safetensors": b"weights"}
    fetched = fetch(MODEL)
    hub.close()
    assert fetch(MODEL).path == fetched.path
    with pytest.raises(InputError, match=r"cannot be reached .*nothing of it is cached"):
        fetch(f"{MODEL}@v2")


def test_without_the_extra_its_pip_line_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "ghostedge_convert.sources.hub")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingDependencyError) as caught:
        import ghostedge_convert.sources.hub  # noqa: F401, PLC0415 - the import is what is tested
    assert "pip install 'ghostedge[convert,hub]'" in str(caught.value)
