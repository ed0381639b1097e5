"""Files that run code when loaded: what the code can do in the confined process, and what not."""

from __future__ import annotations

import errno
import json
import os
import pickle
import socket
import subprocess
import sys
import types
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from ghostedge_convert import build, identify, load_checkpoint
from ghostedge_convert.architectures.ghostnet import GhostNet
from ghostedge_convert.checkpoint.pickles import scan_pickle
from ghostedge_convert.checkpoint.sandbox import parent
from ghostedge_convert.checkpoint.sandbox.confine import (
    ConfinementError,
    confine,
    filter_program,
    has_filter,
    landlock_version,
    limit_memory,
    readable_paths,
)
from ghostedge_convert.checkpoint.sandbox.tree import packed, unpacked
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


def test_a_machine_without_landlock_refuses_and_says_so(monkeypatch):
    monkeypatch.setattr("ghostedge_convert.checkpoint.sandbox.confine.landlock_version", lambda: 0)
    with pytest.raises(ConfinementError, match="Landlock is missing"):
        confine(seconds=1, written=1)


def test_another_system_refuses_and_runs_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(parent.sys, "platform", "darwin")
    path = saved(tmp_path / "model.pt", {"x": Code("1")})
    with pytest.raises(InputError) as raised:
        load_checkpoint(path, unsafe_pickle=True)
    assert raised.value.where == "--unsafe-pickle"
    assert "this is darwin" in raised.value.what
    assert "nothing was run" in str(raised.value.remedy)
    assert raised.value.exit_code == 2


def test_the_walls_stand_where_namespaces_are_refused(tmp_path):
    found = in_process(
        "import ctypes, ghostedge_convert.checkpoint.sandbox.confine as c\n"
        "real = ctypes.CDLL(None, use_errno=True)\n"
        "class NoNamespaces:\n"
        "    prctl = real.prctl\n"
        "    unshare = staticmethod(lambda flags: -1)\n"
        "c.ctypes = type('ctypes', (), {'CDLL': staticmethod(lambda *a, **k: NoNamespaces)})\n"
        "parts = c.confine(seconds=9, written=1 << 20)\n"
        "import os, socket\n"
        "said = []\n"
        "for action in (lambda: socket.socket(), lambda: open(PATH, 'w'), lambda: os.fork()):\n"
        "    try: action(); said.append('done')\n"
        "    except OSError as error: said.append(type(error).__name__)\n"
        "print(json.dumps([parts, said]))".replace("PATH", repr(str(tmp_path / "new")))
    )
    parts, said = found
    assert [part.split()[0] for part in parts] == ["resource", "Landlock", "system"]
    assert said == ["PermissionError"] * 3
    assert not (tmp_path / "new").exists()


def test_a_thread_before_the_walls_is_refused():
    found = in_process(
        "import threading, time, ghostedge_convert.checkpoint.sandbox.confine as c\n"
        "threading.Thread(target=time.sleep, args=(5,), daemon=True).start()\n"
        "try: c.confine(seconds=9, written=1)\n"
        "except c.ConfinementError as error: print(json.dumps(str(error)))"
    )
    assert found == "a thread was started before the walls stood"


def in_process(code: str):
    """The JSON that a Python process of its own prints."""
    done = subprocess.run(
        [sys.executable, "-c", f"import json\n{code}"], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


# The parts.


def test_the_root_of_the_file_system_is_never_readable(monkeypatch):
    monkeypatch.setattr(sys, "path", ["", "/", str(Path("/usr/.."))])
    paths = readable_paths()
    assert "/" not in paths
    assert os.path.realpath(sys.base_prefix) in paths


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filters_jumps_stay_inside_it(machine):
    program = list(filter_program(machine, 17))
    assert all(len(instruction) == 8 for instruction in program)
    for place, instruction in enumerate(program):
        if instruction[0] & 0x07 == 0x05:  # a jump
            assert place + 1 + max(instruction[2], instruction[3]) < len(program)
    assert program[-1][0] == 0x06  # a return


class Filter:
    """The kernel's reading of a filter: what it answers to a call."""

    def __init__(self, machine: str, pid: int = 17) -> None:
        self.program = list(filter_program(machine, pid))
        self.arch = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}[machine]

    def __call__(self, number: int, *arguments: int, arch: int | None = None) -> int:
        words = {0: number, 4: self.arch if arch is None else arch}
        words |= {16 + 8 * i: value & 0xFFFFFFFF for i, value in enumerate(arguments)}
        place, loaded = 0, 0
        while True:
            code, if_true, if_false, value = self._parts(self.program[place])
            place += 1
            if code == 0x06:
                return value
            if code == 0x20:
                loaded = words[value]
                continue
            test = {0x15: loaded == value, 0x35: loaded >= value, 0x45: bool(loaded & value)}[code]
            place += if_true if test else if_false

    @staticmethod
    def _parts(instruction: bytes) -> tuple[int, int, int, int]:
        return (int.from_bytes(instruction[:2], "little"), instruction[2], instruction[3],
                int.from_bytes(instruction[4:], "little"))  # fmt: skip


ALLOW, KILL = 0x7FFF0000, 0x80000000


@pytest.mark.parametrize(
    ("machine", "numbers"),
    [("x86_64", (257, 56, 234, 41, 0, 16)), ("aarch64", (56, 220, 131, 198, 63, 29))],
)
def test_the_filter_judges_calls_by_their_arguments(machine, numbers):
    judge = Filter(machine)
    openat, clone, tgkill, socket_, read, ioctl = numbers
    assert judge(read) == ALLOW
    assert judge(socket_) != ALLOW
    assert judge(ioctl, 3, 0x40086602) == 0x50000 | errno.ENOTTY
    assert judge(openat, 3, 0, os.O_RDONLY | os.O_CLOEXEC) == ALLOW
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_CREAT, os.O_TRUNC):
        assert judge(openat, 3, 0, flags) != ALLOW
    assert judge(clone, 0x3D0F00) == ALLOW  # a thread, as the C library makes one
    assert judge(clone, 17) != ALLOW  # a process
    assert judge(tgkill, 17) == ALLOW
    assert judge(tgkill, 16) != ALLOW
    assert judge(read, arch=0x40000003) == KILL


def test_x86s_other_set_of_numbers_is_refused():
    assert Filter("x86_64")(0x40000000 | 41) != ALLOW


def test_what_is_handed_back_is_what_was_sent():
    content = {"a": [1, 2.5, None, True, "x"], 3: torch.arange(4.0), "m": nn.Linear(1, 1),
               "o": object(), "q": torch.ones(2).to_sparse()}  # fmt: skip
    data = packed(content, {})
    said = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    found, modules = unpacked(safetensors.torch.load(data), said["tree"])
    assert isinstance(found, dict)
    assert found["a"] == content["a"]
    assert torch.equal(found[3], content[3])
    assert list(found["m"]) == ["weight", "bias"]
    assert modules == ("torch.nn.modules.linear.Linear",)
    assert type(found["o"]).__name__ == "object"
    assert "sparse" in type(found["q"]).__name__


@pytest.mark.parametrize(
    "tree",
    ["", "{}", "[]", '["tensor"]', '["tensor", "7"]', '["dict", [[1]]]', '["dict", 3]',
     '["run", "x"]', "[" * 90_000,
     '["list", [' * 40 + "1" + "]]" * 40],
)  # fmt: skip
def test_a_tree_that_was_tampered_with_is_a_value_error(tree):
    with pytest.raises(ValueError, match=r"."):
        unpacked({"0": torch.ones(1)}, tree)


def test_memory_is_limited_to_so_much_more():
    found = in_process(
        "import resource, ghostedge_convert.checkpoint.sandbox.confine as c\n"
        "c.limit_memory(64 << 20)\n"
        "try: bytearray(256 << 20); print('1')\n"
        "except MemoryError: print('2')"
    )
    assert found == 2
    assert callable(limit_memory)
