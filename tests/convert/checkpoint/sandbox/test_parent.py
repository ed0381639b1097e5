"""Files that run code when loaded: what the code can do in the confined process, and what not."""

from __future__ import annotations

import os
import pickle
import socket
import sys
import types
from pathlib import Path

import pytest
import torch

from ghostedge_convert import build, identify, load_checkpoint
from ghostedge_convert.architectures.ghostnet import GhostNet
from ghostedge_convert.checkpoint.pickles import scan_pickle
from ghostedge_convert.checkpoint.sandbox import parent
from ghostedge_convert.checkpoint.sandbox.landlock import landlock_version
from ghostedge_convert.checkpoint.sandbox.seccomp import has_filter
from ghostedge_runtime.errors import CheckpointError, InputError

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not has_filter(os.uname().machine) or not landlock_version(),
    reason="this machine cannot confine a process, and the option says so",
)

WEIGHTS = {"conv_stem.weight": torch.full((2, 3), 2.5), "bn1.bias": torch.zeros(2)}


class Code:
    """Pickled as the evaluation of a Python expression."""

    def __init__(self, expression: str) -> None:
        self.expression = expression

    def __reduce__(self):
        return eval, (self.expression,)


def script(code: str) -> Code:
    """Pickled as the execution of statements; it unpickles as the dictionary ``found``."""
    return Code(f"(lambda ns: (exec({code!r}, ns), ns['found'])[1])({{'found': {{}}}})")


def saved(path: Path, content: object, **options: object) -> Path:
    torch.save(content, path, **options)
    return path


def confined(path: Path) -> dict[str, str]:
    """What the code under ``found`` brought out of the confined process."""
    data = path.read_bytes()
    content, _ = parent.load_confined(path, data, scan_pickle(data))
    assert isinstance(content, dict)
    found = content["found"]
    assert isinstance(found, dict)
    return found


# What must not work. Every attempt notes the error that it met, or that it met none.
ATTEMPTS = """
import ctypes, fcntl, os, socket, subprocess, threading

def attempt(name, action):
    try:
        found[name] = f"done: {action()!r}"
    except BaseException as error:
        found[name] = type(error).__name__

victim, folder, port, parent = TARGETS
libc = ctypes.CDLL(None, use_errno=True)
module = os.open(os.__file__, os.O_RDONLY)

attempt("write a new file", lambda: open(folder + "/new", "w"))
attempt("append to a file", lambda: open(victim, "a"))
attempt("truncate on opening", lambda: os.open(victim, os.O_RDONLY | os.O_TRUNC))
attempt("truncate by name", lambda: os.truncate(victim, 0))
attempt("write to a device", lambda: open("/dev/null", "w"))
attempt("remove a file", lambda: os.unlink(victim))
attempt("rename a file", lambda: os.rename(victim, victim + "2"))
attempt("link a file", lambda: os.link(victim, folder + "/link"))
attempt("link symbolically", lambda: os.symlink(victim, folder + "/symlink"))
attempt("make a folder", lambda: os.mkdir(folder + "/made"))
attempt("make a pipe", lambda: os.mkfifo(folder + "/pipe"))
attempt("change a mode", lambda: os.chmod(victim, 0o777))
attempt("change a time", lambda: os.utime(victim, (0, 0)))
attempt("set an attribute", lambda: os.setxattr(victim, "user.x", b"1"))
attempt("set a file's flags", lambda: fcntl.ioctl(module, 0x40086602, b"\\0" * 8))
attempt("read a file", lambda: open(victim).read())
attempt("read the accounts", lambda: open("/etc/passwd").read())
attempt("list a folder", lambda: os.listdir(folder))
attempt("read the environment", lambda: open(f"/proc/{parent}/environ", "rb").read())
attempt("open TCP", lambda: socket.create_connection(("127.0.0.1", port), 2))
attempt("open UDP", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
attempt("open a Unix socket", lambda: socket.socket(socket.AF_UNIX))
attempt("open a pair", lambda: socket.socketpair())
attempt("resolve a name", lambda: socket.getaddrinfo("example.com", 80))
attempt("fork", lambda: os.fork())
attempt("spawn", lambda: os.posix_spawn("/bin/sh", ["sh", "-c", f"touch {folder}/spawned"], {}))
attempt("run", lambda: subprocess.run(["touch", folder + "/ran"]))
attempt("become", lambda: os.execv("/bin/sh", ["sh", "-c", f"touch {folder}/became"]))
attempt("signal", lambda: os.kill(parent, 0))
attempt("limit the parent", lambda: __import__("resource").prlimit(parent, 7, (3, 3)))
attempt("make a memory file", lambda: os.memfd_create("x"))
attempt("lift its own limit", lambda: __import__("resource").setrlimit(1, (-1, -1)))
found["shell"] = f"status {os.system(f'touch {folder}/shell')}"
found["trace"] = libc.ptrace(16, parent, 0, 0)
found["io_uring"] = libc.syscall(425, 1, 0)
found["environment"] = sorted(os.environ)
found["folder"] = os.getcwd()
"""
REFUSED = ("PermissionError", "ValueError", "OSError", "gaierror")


@pytest.fixture(scope="module")
def malicious(tmp_path_factory):
    """What a file brought out that tried everything, and the folder that it tried it on."""
    folder = tmp_path_factory.mktemp("home")
    victim = folder / "victim"
    victim.write_text("precious")
    victim.chmod(0o600)
    os.utime(victim, (1000, 1000))
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_TOKEN", "secret")
        server.settimeout(0.2)
        targets = (str(victim), str(folder), server.getsockname()[1], os.getpid())
        code = ATTEMPTS.replace("TARGETS", repr(targets))
        path = folder.parent / "malicious.pt"
        found = confined(saved(path, {"model": WEIGHTS, "found": script(code)}))
        with pytest.raises(TimeoutError):
            server.accept()
    return found, folder


def test_no_attempt_succeeds(malicious):
    found, _ = malicious
    attempts = {name: value for name, value in found.items() if isinstance(value, str)}
    others = {name: value for name, value in attempts.items() if value not in REFUSED}
    assert len(attempts) - len(others) == ATTEMPTS.count('attempt("') == 32
    assert others.keys() == {"folder", "shell"}
    assert others["shell"] != "status 0"
    assert found["trace"] == -1
    assert found["io_uring"] == -1


def test_nothing_happened_to_the_files(malicious):
    _, folder = malicious
    assert [path.name for path in folder.iterdir()] == ["victim"]
    victim = folder / "victim"
    assert victim.read_text() == "precious"
    assert victim.stat().st_mode & 0o777 == 0o600
    assert victim.stat().st_mtime == 1000


def test_the_environments_secrets_stay_outside(malicious):
    found, _ = malicious
    assert "PATH" in found["environment"]
    assert "HF_TOKEN" not in found["environment"]


def test_the_same_file_is_refused_without_the_option_and_runs_nothing(tmp_path):
    made = tmp_path / "made"
    path = saved(tmp_path / "model.pt", {"model": WEIGHTS, "x": Code(f"open({str(made)!r}, 'w')")})
    with pytest.raises(CheckpointError, match=r"run code of __builtin__\.eval"):
        load_checkpoint(path)
    assert not made.exists()


def test_the_weights_beside_code_that_fails_to_harm_are_taken(tmp_path):
    content = {"model": WEIGHTS, "x": Code("__import__('os').getpid()")}
    found = load_checkpoint(saved(tmp_path / "model.pt", content), unsafe_pickle=True)
    assert torch.equal(found.weights["conv_stem.weight"], WEIGHTS["conv_stem.weight"])
    assert found.notes[0].startswith("its code (__builtin__.eval) ran in a confined process: ")
    assert "system call filter" in found.notes[0]


def test_a_file_that_needs_no_code_is_loaded_as_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(parent, "load_confined", None)
    monkeypatch.setattr("ghostedge_convert.checkpoint.load.load_confined", None)
    found = load_checkpoint(saved(tmp_path / "model.pt", {"model": WEIGHTS}), unsafe_pickle=True)
    assert found.notes == ("took the weights under 'model'",)


# Whole modules.


def test_a_pickled_network_is_taken_as_its_state_dict(tmp_path):
    torch.manual_seed(0)
    original = GhostNet(width=0.5, num_classes=3).eval()
    path = saved(tmp_path / "model.pt", {"model": original, "epoch": 3, "names": ["a", "b", "c"]})
    found = load_checkpoint(path, unsafe_pickle=True)
    image = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(build(found, identify(found))(image), original(image))
    assert found.config is not None
    assert found.config.labels == ("a", "b", "c")
    name = f"{GhostNet.__module__}.GhostNet"
    assert f"took the state_dict of the pickled module {name}" in found.notes


def package(folder: Path, source: str) -> types.ModuleType:
    """A module of the user's own in a folder, imported here for pickling only."""
    folder.mkdir()
    (folder / "my_models.py").write_text(source)
    module = types.ModuleType("my_models")
    exec(source, module.__dict__)
    return module


MODELS = """
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv_stem = nn.Linear(3, 2)

    def forward(self, x):
        return self.conv_stem(x)
"""


@pytest.fixture
def own_class(tmp_path, monkeypatch):
    """A checkpoint of a class that only ``tmp_path / "source"`` defines, of each format."""
    module = package(tmp_path / "source", MODELS)
    monkeypatch.setitem(sys.modules, "my_models", module)
    path = saved(tmp_path / "model.pt", module.Net())
    monkeypatch.delitem(sys.modules, "my_models")
    return path


def test_a_class_that_is_not_importable_is_named(own_class, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path / "source")  # the current folder is nobody's word
    monkeypatch.delenv("PYTHONPATH", raising=False)
    with pytest.raises(CheckpointError) as raised:
        load_checkpoint(own_class, unsafe_pickle=True)
    assert "it needs my_models.Net, which cannot be imported here" in raised.value.what
    assert "PYTHONPATH=FOLDER" in str(raised.value.remedy)
    assert raised.value.exit_code == 2


def test_a_class_on_the_users_own_path_is_imported(own_class, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "source"))
    found = load_checkpoint(own_class, unsafe_pickle=True)
    assert list(found.weights) == ["conv_stem.weight", "conv_stem.bias"]
    assert not list((tmp_path / "source").glob("__pycache__"))


def test_a_class_of_the_training_script_itself_is_named_as_such(tmp_path, monkeypatch):
    main = types.ModuleType("__main__")
    exec(MODELS, main.__dict__)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "__main__", main)
        path = saved(tmp_path / "model.pt", main.Net())
    with pytest.raises(CheckpointError) as raised:
        load_checkpoint(path, unsafe_pickle=True)
    assert "it needs __main__.Net" in raised.value.what
    assert "training script itself" in str(raised.value.remedy)


# Other forms.


def test_a_pickle_that_torch_did_not_write_and_one_of_a_newer_protocol_load(tmp_path):
    arrays = {key: value.numpy() for key, value in WEIGHTS.items()}
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps({"model": arrays}, protocol=4))
    found = load_checkpoint(tmp_path / "plain.pkl", unsafe_pickle=True)
    assert found.weights["conv_stem.weight"].tolist() == [[2.5] * 3] * 2
    path = saved(tmp_path / "new.pt", {"model": WEIGHTS}, pickle_protocol=5)
    assert list(load_checkpoint(path, unsafe_pickle=True).weights) == list(WEIGHTS)


# What the parent makes of a child that does not behave.


@pytest.mark.parametrize(
    ("expression", "what"),
    [
        ("1 / 0", "its code failed in the confined process (ZeroDivisionError: division by zero)"),
        ("bytearray(1 << 40)", "its code wanted more memory than it was given"),
        ("__import__('os')._exit(7)", "without an answer (status 7)"),
        ("[__import__('os').write(int(__import__('sys').argv[2]), b'nonsense' * 9),"
         " __import__('os')._exit(0)]", "without an answer (status 0)"),
    ],
)  # fmt: skip
def test_code_that_fails_is_an_error_that_says_so(tmp_path, monkeypatch, expression, what):
    path = saved(tmp_path / "model.pt", {"model": WEIGHTS, "x": Code(expression)})
    with pytest.raises(CheckpointError) as raised:
        load_checkpoint(path, unsafe_pickle=True)
    assert what in raised.value.what
    assert raised.value.where == str(path)
    assert raised.value.remedy


def test_code_that_does_not_end_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(parent, "_SECONDS", 9)
    monkeypatch.setattr(parent, "_GRACE", 0)
    path = saved(tmp_path / "model.pt", {"x": Code("sum(iter(int, 1))")})
    with pytest.raises(CheckpointError, match="had not ended after 9 s of work"):
        load_checkpoint(path, unsafe_pickle=True)


# Where the walls cannot be had.


def test_another_system_refuses_and_runs_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(parent.sys, "platform", "darwin")
    path = saved(tmp_path / "model.pt", {"x": Code("1")})
    with pytest.raises(InputError) as raised:
        load_checkpoint(path, unsafe_pickle=True)
    assert raised.value.where == "--unsafe-pickle"
    assert "this is darwin" in raised.value.what
    assert "nothing was run" in str(raised.value.remedy)
    assert raised.value.exit_code == 2
