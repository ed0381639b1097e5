"""Small networks of no family, as files of every kind; the pixels come from real photos."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import torch
from torch import nn

torch.set_num_threads(1)

SIZE = (16, 16)


class Tiny(nn.Module):
    """A conv, a batch norm with statistics, a classifier; 3 channels, 5 classes unless stated."""

    def __init__(self, width: int = 8, classes: int = 5, channels: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(width, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.drop(torch.relu(self.norm(self.conv(x))).mean((2, 3))))


def filled(network: nn.Module) -> nn.Module:
    """With batch norm statistics other than the initial ones, in evaluation mode."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)  # type: ignore[arg-type] # it has one
            nn.init.uniform_(module.running_var, 0.5, 2)  # type: ignore[arg-type] # likewise
    return network.eval()


@pytest.fixture
def tiny() -> nn.Module:
    torch.manual_seed(0)
    return filled(Tiny())


@pytest.fixture
def make_tiny() -> Callable[..., nn.Module]:
    def make(**arguments: int) -> nn.Module:
        torch.manual_seed(0)
        return filled(Tiny(**arguments))

    return make


@pytest.fixture
def images(photos_32: object) -> torch.Tensor:
    """Eight photos at 32×32, normalised."""
    return torch.from_numpy(photos_32)  # type: ignore[arg-type] # an array


@pytest.fixture
def scripted(tiny: nn.Module, tmp_path: Path) -> Callable[..., Path]:
    """Write a module as TorchScript, traced or scripted."""

    def write(module: nn.Module = tiny, *, how: str = "script", channels: int = 3) -> Path:
        path = tmp_path / f"{how}.pt"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of TorchScript's age
            program = torch.jit.script(module)
            if how == "trace":
                program = torch.jit.trace(module, torch.zeros(1, channels, *SIZE))
            if how == "freeze":
                program = torch.jit.freeze(program)
            torch.jit.save(program, path)
        return path

    return write


@pytest.fixture
def exported(tiny: nn.Module, tmp_path: Path) -> Callable[..., Path]:
    """Write a module as a torch.export program."""

    def write(
        module: nn.Module = tiny,
        shape: tuple[int, ...] = (1, 3, *SIZE),
        **options: object,
    ) -> Path:
        path = tmp_path / "program.pt2"
        program = torch.export.export(module, (torch.zeros(shape),), **options)  # type: ignore[arg-type] # torch's own options
        torch.export.save(program, path)
        return path

    return write


class Hub:
    """The part of the Hugging Face Hub that fetching a file takes, on this machine.

    ``files`` are those of the one repository by name; ``asked`` are the paths that were requested.
    """

    REPO = "owner/ghost.v1"
    COMMIT = "0123456789abcdef0123456789abcdef01234567"

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[tuple[str, str]] = []
        self.refuses: str | None = None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body for a path."""
        if self.refuses is not None:
            status = 403 if self.refuses == "GatedRepo" else 404
            return status, {"X-Error-Code": self.refuses}, b"{}"
        if path in (f"/api/models/{self.REPO}", f"/api/models/{self.REPO}/revision/v2"):
            siblings = [{"rfilename": name} for name in self.files]
            info = {"id": self.REPO, "sha": self.COMMIT, "siblings": siblings}
            return 200, {"Content-Type": "application/json"}, json.dumps(info).encode()
        for revision in ("main", "v2", self.COMMIT):
            name = path.removeprefix(f"/{self.REPO}/resolve/{revision}/")
            if name in self.files:
                data = self.files[name]
                etag = hashlib.sha256(data).hexdigest()
                return 200, {"ETag": f'"{etag}"', "X-Repo-Commit": self.COMMIT}, data
        known = f"/{self.REPO}/" in f"{path}/"
        return 404, {"X-Error-Code": "RevisionNotFound" if known else "RepoNotFound"}, b"{}"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def respond(self) -> None:
                hub.asked.append((self.command, self.path))
                status, headers, body = hub.answer(self.path.partition("?")[0])
                self.send_response(status)
                for key, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(key, value)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            do_GET = do_HEAD = respond  # noqa: N815 - the server's names

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that huggingface_hub asks in this process and its children; the cache is empty."""
    constants = pytest.importorskip("huggingface_hub.constants")
    server = Hub()
    cache = tmp_path / "cache"
    url = f"{server.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    # Read anew by a child process.
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")
    yield server
    server.close()
