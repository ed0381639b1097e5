"""``--unsafe-pickle``: a file that runs code when loaded, loaded where that can do little.

Many checkpoints hold whole modules, schedulers or configurations with classes of their own. Python
loads those by running what the file names. Here a child process does, confined first (see
``confine``): it cannot write to any file, open a socket or start a process, it can read only where
Python's modules and the system's libraries lie, and its time and memory are bounded. It hands back
tensors as safetensors and the rest as JSON; this process never unpickles. Where a process cannot be
confined, the file is refused.

Not covered: what the code does to the weights themselves. A network from a stranger's file computes
what the stranger wants, however it was loaded.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
from safetensors import SafetensorError

from ghostedge_convert.checkpoint.pickles import PickleContent
from ghostedge_convert.checkpoint.sandbox.tree import unpacked
from ghostedge_convert.checkpoint.unwrap import listed, printable
from ghostedge_runtime.errors import CheckpointError, InputError

_SECONDS = 120
_GRACE = 60  # wall time beyond the processor time: importing torch from a slow disk
_MEMORY_TIMES, _MEMORY_MORE = 6, 1 << 30
_OUTPUT_TIMES, _OUTPUT_MORE = 4, 64 << 20
# What the child needs of the environment; the rest may hold tokens.
_PASSED = (
    "CONDA_PREFIX", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "PATH", "PYTHONHOME",
    "PYTHONNOUSERSITE", "PYTHONPATH", "PYTHONUSERBASE", "VIRTUAL_ENV",
)  # fmt: skip
_SET = {
    "CUDA_VISIBLE_DEVICES": "",
    "MKL_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
}


def load_confined(
    path: Path, data: bytes, content: PickleContent
) -> tuple[object, tuple[str, ...]]:
    """Load a pickle that runs code, in a confined process.

    Args:
        path: The file, for messages.
        data: Its bytes.
        content: What its opcodes mention.

    Returns:
        What it held, plain: mappings, lists, numbers, texts and tensors, a module as its
        ``state_dict``, other objects as stand-ins. And what was done, a line each.

    Raises:
        InputError: This machine cannot confine a process.
        CheckpointError: The code failed, took too long or too much, or needs a class that is not
            importable.
    """
    if sys.platform != "linux":
        raise _unconfinable(f"it is made of Linux's means, and this is {sys.platform}")
    header, answer = _answer(path, data)
    if "problem" in header:
        raise _problem(path, header)
    try:
        held, modules = unpacked(safetensors.torch.load(answer), header.get("tree", ""))
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(
            f"what its code left behind cannot be read ({printable(str(error))})",
            where=path,
            remedy="save its state_dict alone where its classes are installed",
        ) from error
    ran = listed(content.wanted, 3) or "nothing but harmless types"
    notes = [f"its code ({ran}) ran in a confined process: {printable(header.get('parts', ''))}"]
    notes += [f"took the state_dict of the pickled module {printable(name)}" for name in modules]
    return held, tuple(notes)


def _answer(path: Path, data: bytes) -> tuple[Mapping[str, str], bytes]:
    """Run the child over the bytes; the texts in its answer's header, and the whole answer."""
    source, target = os.memfd_create("pickle"), os.memfd_create("answer")
    try:
        with os.fdopen(source, "wb", closefd=False) as file:
            file.write(data)
        os.lseek(source, 0, os.SEEK_SET)
        status = _run(path, source, target, len(data))
        size = os.fstat(target).st_size
        if not size:
            raise _silent(path, status)
        answer = os.pread(target, min(size, _output_limit(len(data))), 0)
    finally:
        os.close(source)
        os.close(target)
    return _header(path, answer), answer


def _run(path: Path, source: int, target: int, size: int) -> int:
    script = Path(__file__).with_name("child.py")
    memory = _MEMORY_TIMES * size + _MEMORY_MORE
    numbers = (source, target, _SECONDS, _output_limit(size), memory)
    try:
        return subprocess.run(
            [sys.executable, str(script), *map(str, numbers)],
            env={**{key: os.environ[key] for key in _PASSED if key in os.environ}, **_SET},
            pass_fds=(source, target),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            timeout=_SECONDS + _GRACE,
            check=False,
        ).returncode
    except subprocess.TimeoutExpired as error:
        raise _too_long(path) from error
    except OSError as error:
        raise _unconfinable(f"no process could be started ({error.strerror})") from error


def _output_limit(size: int) -> int:
    return _OUTPUT_TIMES * size + _OUTPUT_MORE


def _header(path: Path, answer: bytes) -> Mapping[str, str]:
    try:
        length = int.from_bytes(answer[:8], "little")
        header = json.loads(answer[8 : 8 + length])["__metadata__"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _silent(path, 0) from error
    return {str(key): str(value) for key, value in dict(header).items()}


def _problem(path: Path, header: Mapping[str, str]) -> InputError:
    """The error for what the child reports; its texts may be the file's, so they are cleaned."""
    try:
        texts = [printable(str(text), 300) for text in json.loads(header.get("texts", "[]"))]
    except (ValueError, TypeError, RecursionError):
        texts = []
    first, second = (*texts, "", "")[:2]
    problem = header["problem"]
    if problem == "confinement":
        return _unconfinable(first)
    if problem == "missing":
        return CheckpointError(
            f"it needs {first}, which cannot be imported here ({second})",
            where=path,
            remedy=_missing_remedy(first),
        )
    if problem == "memory":
        what = "its code wanted more memory than it was given"
    else:
        what = f"its code failed in the confined process ({first})"
    return CheckpointError(
        what, where=path, remedy="save its state_dict alone where its classes are installed"
    )


def _missing_remedy(name: str) -> str:
    if name.startswith("__main__."):
        return (
            "it is a class of the training script itself: save model.state_dict() there and pass "
            "that file"
        )
    return (
        "install the package that defines it, or name the folder of its source: "
        "PYTHONPATH=FOLDER ghostedge …"
    )


def _too_long(path: Path) -> CheckpointError:
    return CheckpointError(
        f"its code had not ended after {_SECONDS} s of work and was stopped",
        where=path,
        remedy="save its state_dict alone where its classes are installed",
    )


def _silent(path: Path, status: int) -> CheckpointError:
    if -status in (9, 24):  # SIGKILL, SIGXCPU: the limit on processor time
        return _too_long(path)
    return CheckpointError(
        f"its code ended the confined process without an answer (status {status})",
        where=path,
        remedy="save its state_dict alone where its classes are installed",
    )


def _unconfinable(why: str) -> InputError:
    return InputError(
        f"this machine cannot confine a process: {why}",
        where="--unsafe-pickle",
        remedy="save the weights alone where the file's author is trusted, without this option; "
        "nothing was run",
    )
