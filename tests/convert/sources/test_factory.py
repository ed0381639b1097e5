"""A factory is found, called, and its weights loaded in full; each slip is named."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from ghostedge_convert import Checkpoint, load_checkpoint
from ghostedge_convert.sources.factory import load_from_factory
from ghostedge_runtime.errors import CheckpointError, InputError

CODE = """
import torch
from helper import WIDTH

class Net(torch.nn.Module):
    def __init__(self, width=WIDTH, classes=3):
        super().__init__()
        self.module = torch.nn.Conv2d(3, width, 1)
        self.register_buffer("order", torch.arange(width))
        self.classes = classes

    def forward(self, x):
        return self.module(x)[:, self.order].mean((2, 3))

def make(*args, **kwargs):
    print("making")
    return Net(*args, **kwargs)

number = 5

def weights_only():
    return Net().state_dict()

def the_class():
    return Net

def nothing():
    pass

def broken():
    raise ValueError("no luck today")

def stops():
    raise SystemExit(3)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "net.py").write_text(CODE)
    (tmp_path / "helper.py").write_text("WIDTH = 4\n")
    (tmp_path / "slip.py").write_text("def make(:\n")
    (tmp_path / "needy.py").write_text("import not_there_at_all\n")
    (tmp_path / "script.py").write_text("import sys\nsys.exit(2)\n")
    monkeypatch.chdir(tmp_path)
    for file in tmp_path.glob("*.py"):  # other tests import modules of these names, too
        monkeypatch.delitem(sys.modules, file.stem, raising=False)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(
            sys.modules[name].__file__
        ):
            del sys.modules[name]


@pytest.fixture
def weights(folder: Path) -> Callable[..., Checkpoint]:
    def write(content: object, key_prefix: str | None = None) -> Checkpoint:
        torch.save(content, folder / "w.pt")
        return load_checkpoint(folder / "w.pt", integers=True, key_prefix=key_prefix)

    return write


def state(width: int = 4) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return {
        "module.weight": torch.randn(width, 3, 1, 1),
        "module.bias": torch.randn(width),
        "order": torch.arange(width).flip(0),
    }


@pytest.mark.parametrize("spec", ["net.py:make", "net:make", "net.py:Net", "./net.py:make"])
def test_a_function_or_class_of_a_file_or_module_makes_the_network(
    weights: Callable[..., Checkpoint], spec: str
) -> None:
    given = load_from_factory(spec, None, weights(state()))
    found = given.module.state_dict()
    assert all(torch.equal(found[key], value) for key, value in state().items())
    assert given.title == f"module Net (made by {spec})"
    assert given.source.file == "w.pt"
    assert not given.module.training


def test_the_path_is_as_it_was_and_prints_stay_off_stdout(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = list(sys.path)
    load_from_factory("net.py:make", None, None)
    assert sys.path == before
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "making\n")


@pytest.mark.parametrize("text", ['{"width": 6}', "[6]", '{"width": 6, "classes": 9}'])
def test_arguments_come_from_json(folder: Path, text: str) -> None:
    given = load_from_factory("net.py:make", text, None)
    assert isinstance(given.module.get_submodule("module"), nn.Conv2d)
    assert given.module.get_parameter("module.weight").shape[0] == 6


def test_without_a_file_the_weights_are_the_functions_and_so_is_the_hash(folder: Path) -> None:
    first, second = (load_from_factory("net.py:make", None, None).source for _ in range(2))
    assert first.file == "net.py:make"
    assert first.sha256 != second.sha256  # drawn anew


def test_a_part_that_is_called_module_is_no_wrapper(weights: Callable[..., Checkpoint]) -> None:
    """Every key begins with ``module.``, and the loader takes that for DataParallel's prefix."""
    torch.manual_seed(1)
    plain = {"module.weight": torch.randn(4, 3, 1, 1), "module.bias": torch.randn(4)}
    with pytest.raises(CheckpointError, match="1 weights are missing: order"):
        load_from_factory("net.py:make", None, weights(plain))


def is_loaded(module: nn.Module) -> bool:
    return all(torch.equal(module.state_dict()[key], value) for key, value in state().items())


def test_a_prefix_that_the_network_has_not_is_dropped(weights: Callable[..., Checkpoint]) -> None:
    found = load_from_factory(
        "net.py:make", None, weights({f"a.b.{k}": v for k, v in state().items()})
    )
    assert is_loaded(found.module)


def test_of_two_networks_the_prefix_chooses(weights: Callable[..., Checkpoint]) -> None:
    two = {f"{name}.{k}": v * n for n, name in enumerate("ab") for k, v in state().items()}
    assert is_loaded(load_from_factory("net.py:make", None, weights(two, "b")).module)


def test_pruned_weights_of_an_unpruned_network_are_multiplied(
    weights: Callable[..., Checkpoint],
) -> None:
    stored = state()
    pruned = {"module.weight_orig": stored.pop("module.weight"),
              "module.weight_mask": torch.ones(4, 3, 1, 1)}  # fmt: skip
    found = load_from_factory("net.py:make", None, weights({**pruned, **stored}))
    assert is_loaded(found.module)
    assert any("pruning" in note for note in found.notes)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("net.py", "'net.py' names no function"),
        (":make", "':make' names no function"),
        ("net.py:", "'net.py:' names no function"),
        ("net.py:make it", "names no function"),
        ("no.py:make", "there is no file no.py"),
        ("nowhere:make", "there is no module 'nowhere'"),
        ("torch.nowhere:make", "there is no module 'torch.nowhere'"),
        ("needy:make", r"importing it failed \(ModuleNotFoundError: .*not_there_at_all"),
        ("slip.py:make", r"importing it failed \(SyntaxError"),
        ("script.py:make", r"importing it failed \(SystemExit"),
        ("net.py:mak", r"net.py has no 'mak'"),
        ("net.py:Net.small", r"net.py has no 'small'"),
        ("net.py:number", "number is of type int, which cannot be called"),
        ("net.py:weights_only", "returned a OrderedDict, not a torch.nn.Module"),
        ("net.py:the_class", "returned the class Net itself"),
        ("net.py:nothing", "returned None, not"),
        ("net.py:broken", r"raised an error when called \(ValueError: no luck today\)"),
        ("net.py:stops", r"raised an error when called \(SystemExit: 3\)"),
    ],
)
def test_a_factory_that_does_not_work_is_named(folder: Path, spec: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        load_from_factory(spec, None, None)
    assert caught.value.exit_code == 2
    assert str(caught.value.where).startswith("--factory")
    assert caught.value.remedy


@pytest.mark.parametrize("text", ["width=6", '"six"', "6", "{"])
def test_arguments_that_are_no_json_object_are_refused(folder: Path, text: str) -> None:
    with pytest.raises(InputError, match="no JSON object or array"):
        load_from_factory("net.py:make", text, None)


def test_arguments_that_the_function_does_not_take_are_named(folder: Path) -> None:
    with pytest.raises(InputError, match=r"TypeError: .*unexpected keyword argument 'depth'"):
        load_from_factory("net.py:make", '{"depth": 3}', None)


def test_weights_of_another_shape_or_name_are_refused(weights: Callable[..., Checkpoint]) -> None:
    with pytest.raises(CheckpointError, match=r"module.weight is \(6, 3, 1, 1\), needs") as wrong:
        load_from_factory("net.py:make", None, weights(state(6)))
    assert "--factory-args" in str(wrong.value.remedy)
    renamed = {key.replace("bias", "offset"): value for key, value in state().items()}
    with pytest.raises(CheckpointError, match=r"module.bias.*surplus.*module.offset"):
        load_from_factory("net.py:make", None, weights(renamed))
