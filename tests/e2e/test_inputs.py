"""Whatever MODEL is, the same main job: files, checks, facts, errors, exit codes."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch
from torch import nn

import ghostedge
from ghostedge_convert.architectures.ghostnet import GhostNet
from ghostedge_runtime import Model
from ghostedge_runtime.errors import CheckpointError, InputError

torch.set_num_threads(1)
SIZE = 32

NET = """
import torch

class Net(torch.nn.Module):
    def __init__(self, width=8, classes=5):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, width, 3, stride=2, padding=1)
        self.norm = torch.nn.BatchNorm2d(width)
        self.fc = torch.nn.Linear(width, classes)

    def forward(self, x):
        return self.fc(torch.relu(self.norm(self.conv(x))).mean((2, 3)))

class Branches(Net):
    def forward(self, x):
        return super().forward(x) if float(x.sum()) > 1 else super().forward(-x)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where ``net.py`` is."""
    path = tmp_path_factory.mktemp("net")
    (path / "net.py").write_text(NET)
    return path


@pytest.fixture(scope="module")
def net(folder: Path) -> nn.Module:
    """Its network, with batch norm statistics, in evaluation mode."""
    spec = importlib.util.spec_from_file_location("net_of_the_test", folder / "net.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    torch.manual_seed(0)
    network: nn.Module = module.Net()
    network.norm.momentum = None
    network.train()(torch.randn(64, 3, SIZE, SIZE))
    return network.eval()


@pytest.fixture(scope="module")
def files(net: nn.Module, folder: Path) -> dict[str, Path]:
    """The same network as a file of every kind, by suffix."""
    example = torch.zeros(1, 3, SIZE, SIZE)
    torch.export.save(torch.export.export(net, (example,)), folder / "same.pt2")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of TorchScript's age
        torch.jit.save(torch.jit.trace(net, example), folder / "same.pt")
        torch.onnx.export(
            net, (example,), folder / "same.onnx", dynamo=False, opset_version=12,
            input_names=["image"], dynamic_axes={"image": {0: "n", 2: "h", 3: "w"}},
        )  # fmt: skip
    torch.save(net.state_dict(), folder / "weights.pth")
    return {path.suffix[1:]: path for path in folder.iterdir() if path.suffix}


def command(
    *arguments: object, cwd: Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "ghostedge", "convert", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, check=False, cwd=cwd, env=env)


def answer(folder: Path, file: str, size: int = SIZE) -> np.ndarray:
    """Logits for a fixed input."""
    ramp = np.linspace(-2, 2, 3 * size * size, dtype=np.float32).reshape(1, size, size, 3)
    with Model(folder / file) as model:
        return model.logits(ramp)


def torch_answer(net: nn.Module, size: int = SIZE) -> np.ndarray:
    ramp = np.linspace(-2, 2, 3 * size * size, dtype=np.float32).reshape(1, size, size, 3)
    with torch.no_grad():
        return net(torch.from_numpy(ramp.transpose(0, 3, 1, 2).copy())).numpy()


def test_a_module_in_memory_goes_all_the_way_to_int8(
    net: nn.Module, pictures: Path, tmp_path: Path
) -> None:
    made = ghostedge.convert(
        net,
        torch.zeros(1, 3, SIZE, SIZE),
        int8=True,
        calib=pictures,
        calib_images=12,
        name="mine",
        output=tmp_path / "out",
    )
    assert [a.file for a in made.artefacts] == [
        "mine.onnx", "mine.tflite", "mine_int8.onnx", "mine_int8.tflite",
    ]  # fmt: skip
    assert made.artefacts[0].parity.reference == "module Net"
    assert made.artefacts[0].parity.max_abs_diff < 1e-5
    assert made.artefacts[3].inputs[0].dtype == "uint8"
    assert made.metadata["architecture"] is None
    facts = {fact.name: (fact.value, fact.origin) for fact in made.inferred}
    assert facts["architecture"] == ("module Net (given)", "as it was given")
    assert facts["classes"] == ("5", "from the network's output")
    assert facts["input_size"] == ("32×32", "from the example input")
    assert "family's ImageNet default" in facts["mean"][1]
    np.testing.assert_allclose(answer(made.folder, "mine.tflite"), torch_answer(net), atol=1e-5)


def test_a_ghostnet_given_as_a_module_is_the_one_of_its_weights_file(tmp_path: Path) -> None:
    """The two ways in meet: the same float function, whether the family is known or not."""
    torch.manual_seed(0)
    ghost = GhostNet(width=0.5, num_classes=10, dropout=0.0)
    for module in ghost.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        ghost.train()(torch.randn(8, 3, 64, 64))
    torch.save(ghost.eval().state_dict(), tmp_path / "w.pth")
    given = ghostedge.convert(ghost, (1, 3, 64, 64), output=tmp_path / "given")
    known = ghostedge.convert(tmp_path / "w.pth", input_size=(64, 64), output=tmp_path / "known")
    assert known.metadata["architecture"]["name"] == "ghostnet_050"
    ours = answer(given.folder, "GhostNet.tflite", 64)
    np.testing.assert_allclose(ours, answer(known.folder, "w.tflite", 64), rtol=0, atol=1e-5)
    np.testing.assert_allclose(ours, torch_answer(ghost, 64), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "origin", "size"),
    [
        ("pt", "TorchScript Net", "from --input-size"),
        ("pt2", "torch.export program", "from the program"),
        ("onnx", "ONNX of pytorch", "from --input-size"),
    ],
)
def test_the_same_network_from_any_file_computes_the_same(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, origin: str, size: str
) -> None:
    path = request.getfixturevalue("files")[kind]
    stated = None if kind == "pt2" else (SIZE, SIZE)
    found = ghostedge.convert(path, input_size=stated, output=tmp_path / "out")
    assert [a.file for a in found.artefacts] == ["same.onnx", "same.tflite"]
    assert all(a.parity.within_budget for a in found.artefacts)
    assert found.artefacts[0].parity.reference.startswith(origin)
    assert {f.name: f.origin for f in found.inferred}["input_size"] == size
    assert found.source_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    wanted = torch_answer(request.getfixturevalue("net"))
    np.testing.assert_allclose(answer(found.folder, "same.tflite"), wanted, rtol=0, atol=1e-5)


def test_a_float_onnx_becomes_int8(files: dict[str, Path], pictures: Path, tmp_path: Path) -> None:
    done = command(
        files["onnx"], "--input-size", SIZE, "--int8", "--calib", pictures, "--calib-images", 12,
        "-o", "out", "--json", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode in (0, 3), done.stderr  # 3: twelve pictures may miss a budget
    made = [a["file"] for a in json.loads(done.stdout)["artefacts"]]
    assert made == ["same.onnx", "same.tflite", "same_int8.onnx", "same_int8.tflite"]
    assert "operator set 12 brought up to 18" in done.stderr


def test_a_factory_takes_weights_or_brings_its_own(
    files: dict[str, Path], net: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(files["py"].parent)
    options = {"factory": "net.py:Net", "factory_args": '{"width": 8}'}
    made = ghostedge.convert(
        files["pth"], input_size=(SIZE, SIZE), output=tmp_path / "out", **options
    )
    got = answer(made.folder, "weights.tflite")
    np.testing.assert_allclose(got, torch_answer(net), rtol=0, atol=1e-5)
    own = ghostedge.convert("-", factory="net:Net", input_size=(20, 24), output=tmp_path / "own")
    assert own.name == "Net"
    assert own.artefacts[1].inputs[0].shape == (1, 20, 24, 3)
    with pytest.raises(CheckpointError, match=r"conv.weight is \(8, 3, 3, 3\), needs \(4, 3"):
        ghostedge.convert(files["pth"], factory="net.py:Net", factory_args='{"width": 4}')


def test_the_commands_errors_are_one_message_and_exit_code_2(folder: Path, tmp_path: Path) -> None:
    done = command("-", "--factory", folder / "net.py:Nett", cwd=tmp_path)
    assert done.returncode == 2
    assert "its code runs, for you named it" in done.stderr
    assert "net.py has no 'Nett'\n  → it has" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


FACTORY = {"model": "-", "factory": "net.py:Net"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"model": "-"}, "stands for no file"),
        ({**FACTORY, "arch": "ghostnet_100"}, "--arch: MODEL is no checkpoint of the family"),
        ({**FACTORY, "ema": True}, "--ema: MODEL is no checkpoint of the family"),
        ({**FACTORY, "num_classes": 7}, "which is not 7 classes"),
        ({**FACTORY, "mean": (0.5,), "std": (0.5,)}, "it has 1 channels?, but the network takes 3"),
        ({"model": "-", "factory": "net.py:Branches"}, "module Branches.*torch cannot export it"),
        ({"model": "absent.onnx"}, "absent.onnx: there is no such file"),
        ({"model": "absent.pt2"}, "absent.pt2: the file cannot be read"),
        ({"model": "same.pt2", "input_size": (96, 96)}, "exported for 32×32, not for 96×96"),
        ({"model": "same.pt2", "batch": 2}, "takes batches of 1, not 2"),
        ({"model": "same.pt", "width": 1.0}, "--width: MODEL is no checkpoint of the family"),
        ({"model": "same.onnx"}, "image size is dynamic"),
        ({"model": "same.onnx", "requantize": True}, "--requantize: only an .onnx that is"),
        ({"model": "same.onnx", "ranges": "mse"}, "--ranges: it is of use only to int8"),
        ({"model": "same.pt", "example_input": (1, 3, 8, 8)}, "and this is a path"),
        ({"model": nn.ReLU()}, "a module in memory needs an example"),
        (
            {"model": nn.ReLU(), "example_input": (1, 3, 8, 8), "input_size": (16, 16)},
            "of another size than 16×16",
        ),
        ({"model": 5, "example_input": (1, 3, 8, 8)}, "a int, not a torch.nn.Module"),
    ],
)
def test_what_cannot_be_converted_is_refused_and_nothing_is_written(
    files: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    given: dict[str, object],
    said: str,
) -> None:
    home = files["py"].parent
    monkeypatch.chdir(home)
    before = {path.name for path in home.iterdir()}
    with pytest.raises(InputError, match=f"(?s){said}"):
        ghostedge.convert(**given)  # type: ignore[arg-type] # the mistakes
    assert {path.name for path in home.iterdir()} - {"__pycache__"} == before - {"__pycache__"}


COMMIT = "89abcdef" * 5


@pytest.fixture
def hub(files: dict[str, Path], tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment that points to a hub of one repository, owner/ghost, and an empty cache."""
    config = {
        "pretrained_cfg": {"input_size": [3, SIZE, SIZE], "mean": [0.5] * 3, "std": [0.5] * 3}
    }
    held = {
        "pytorch_model.bin": files["pth"].read_bytes(),
        "config.json": json.dumps(config).encode(),
    }
    siblings = [{"rfilename": name} for name in held]
    info = {"id": "owner/ghost", "sha": COMMIT, "siblings": siblings}
    known = {f"/owner/ghost/resolve/main/{name}": data for name, data in held.items()}
    known["/api/models/owner/ghost"] = json.dumps(info).encode()

    class Handler(BaseHTTPRequestHandler):
        def respond(self) -> None:
            data = known.get(self.path, b"")
            self.send_response(200 if data else 404)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

        do_GET = do_HEAD = respond  # noqa: N815 - the server's names

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield {
        **os.environ,
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "HF_HUB_CACHE": str(tmp_path / "cache"),
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
    }
    server.shutdown()
    server.server_close()


def test_weights_from_the_hub_convert_online_and_then_offline(
    folder: Path, hub: dict[str, str], tmp_path: Path
) -> None:
    pytest.importorskip("huggingface_hub")
    for out, extra in (("online", {}), ("offline", {"HF_HUB_OFFLINE": "1"})):
        done = command(
            "hf-hub:owner/ghost", "--factory", folder / "net.py:Net", "-o", out,
            cwd=tmp_path, env={**hub, **extra},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        manifest = json.loads((tmp_path / out / "manifest.json").read_text())
        assert [a["file"] for a in manifest["artefacts"]] == ["ghost.onnx", "ghost.tflite"]
        source = manifest["metadata"]["source"]
        assert source["file"] == f"hf-hub:owner/ghost@{COMMIT[:12]}/pytorch_model.bin"
        assert manifest["metadata"]["preprocessing"]["mean"] == [0.5, 0.5, 0.5]
    assert "HF_HUB_OFFLINE is set: the cached copy is used" in done.stderr
