"""The confined process: it loads one pickle, whatever that runs, and hands the tensors back.

Started by ``parent`` as a script, with the file's bytes and the answer's place as open file
descriptors: ``python child.py INPUT OUTPUT SECONDS WRITTEN MEMORY``. The answer is a safetensors
file; its header says what went wrong, where something did.

The process is confined before torch is imported, because torch's libraries start threads, and
before any class that the pickle names is: a module that runs code on import runs it confined.
"""

from __future__ import annotations

import json
import os
import pickle
import struct
import sys
import types
from pathlib import Path
from typing import IO, Any

from ghostedge_convert.checkpoint.sandbox.confine import ConfinementError, confine, limit_memory

# How torch's format before its zips begins: a pickle of protocol 2 that holds a magic number.
_OLD_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"


class _MissingClassError(Exception):
    """The pickle names something that cannot be imported here."""


class _Unpickler(pickle.Unpickler):
    """Python's own, but its error names what it could not find."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return super().find_class(module, name)
        except (ImportError, AttributeError) as error:
            raise _MissingClassError(f"{module}.{name}", str(error)) from error


def main(arguments: list[str]) -> None:
    """Confine, load, answer; the status is 0 whenever there is an answer."""
    source, target, seconds, written, memory = map(int, arguments)
    with os.fdopen(target, "wb") as answer:
        try:
            parts = confine(seconds=seconds, written=written)
        except (ConfinementError, OSError) as error:
            _say(answer, "confinement", str(error))
            return
        try:
            answer.write(_loaded(source, memory, parts))
        except _MissingClassError as error:
            _say(answer, "missing", error.args[0], error.args[1])
        except MemoryError:
            _say(answer, "memory")
        except BaseException as error:  # the file's code raises what it likes, SystemExit too
            _say(answer, "failed", f"{type(error).__name__}: {error}")


def _loaded(source: int, memory: int, parts: tuple[str, ...]) -> bytes:
    # Only once the process is confined, see above.
    import torch  # noqa: PLC0415  # once the process is confined

    from ghostedge_convert.checkpoint.sandbox.tree import packed  # noqa: PLC0415  # it imports torch

    torch.set_num_threads(1)
    limit_memory(memory)
    with os.fdopen(source, "rb") as file:
        head = file.read(len(_OLD_TORCH))
        file.seek(0)
        if head.startswith(b"PK") or head == _OLD_TORCH:
            content = torch.load(
                file, map_location="cpu", weights_only=False, pickle_module=_pickle_module()
            )
        else:
            content = _Unpickler(file).load()
    return packed(content, {"parts": ", ".join(parts)})


def _pickle_module() -> types.ModuleType:
    """Python's ``pickle`` with the unpickler above, in the form that torch takes one."""
    module = types.ModuleType("pickle")
    module.__dict__.update(vars(pickle))
    module.__dict__["Unpickler"] = _Unpickler
    return module


def _say(answer: IO[bytes], problem: str, *texts: str) -> None:
    """Answer with a problem, in a safetensors file without tensors."""
    answer_texts = {"problem": problem, "texts": json.dumps([text[:2_000] for text in texts])}
    header = json.dumps({"__metadata__": answer_texts}).encode()
    answer.seek(0)
    answer.truncate()
    answer.write(struct.pack("<Q", len(header)) + header)


if __name__ == "__main__":
    # Python puts the script's folder first, where its siblings would pass for modules of these
    # names; and the empty entry stands for the current folder, which nobody put there on purpose.
    _here = str(Path(__file__).resolve().parent)
    sys.path[:] = [entry for entry in sys.path if entry and os.path.realpath(entry) != _here]
    main(sys.argv[1:])
