"""What a user can rely on, as one JSON object: help, public names, the bytes of the files written.

    python tests/unchanged/snapshot.py            # print it
    python tests/unchanged/snapshot.py --write    # print it and store it in snapshot.json

``test_snapshot.py`` compares the stored one with the code as it is. After an intended change
(a new option, a public name, another way of lowering) run it with ``--write``, read the difference
with ``git diff tests/unchanged``, and commit it together with the change.

``help`` holds the text of ``ghostedge --help`` and of every command. ``names`` holds, for each of
the four packages, every name of its ``__all__`` with its parameters and their defaults, and the
public members of classes likewise. ``sha256`` holds the hash of every model file that four
conversions write: the bundled network in every precision, with one weight scale per layer, from its
own float ONNX, and from its own int8 ONNX. Manifests hold times and are left out.

Ranges and roundings depend on the kernels that ONNX Runtime and torch choose for a processor, and
files on the versions of the libraries that write them: ``environment`` records both, and hashes are
compared only where it is the same.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import importlib.util
import inspect
import json
import os
import platform
import re
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # torch reads it once, when it is imported

REPO = Path(__file__).resolve().parents[2]
STORED = Path(__file__).with_name("snapshot.json")
GLYPHS = REPO / "examples" / "glyphs"
PACKAGES = ("ghostedge", "ghostedge_runtime", "ghostedge_convert", "ghostedge_quantize")
LIBRARIES = ("torch", "onnx", "onnxruntime", "onnxscript", "onnx-ir", "flatbuffers", "numpy")
INSTRUCTIONS = re.compile(r"(avx|amx|fma|f16c|asimd|sve|i8mm|bf16)\w*")
CALIBRATION_IMAGES = 24


def environment() -> dict[str, Any]:
    """What the bytes of a file may depend on beside the code."""
    cpuinfo = Path("/proc/cpuinfo")
    processor = cpuinfo.read_text(encoding="utf-8") if cpuinfo.is_file() else ""
    vendor = re.search(r"(?:vendor_id|CPU implementer)\s*: (.*)", processor)
    flags = re.search(r"(?:flags|Features)\s*: (.*)", processor)
    words = flags[1].split() if flags else []
    return {
        "python": ".".join(platform.python_version_tuple()[:2]),
        "machine": platform.machine(),
        "vendor": vendor[1] if vendor else None,
        "instructions": sorted(word for word in words if INSTRUCTIONS.fullmatch(word)),
        **{name: metadata.version(name) for name in LIBRARIES},
    }


def help_texts() -> dict[str, list[str]]:
    """Command → the lines of its ``--help`` at 80 columns; the program's own stand under ``""``."""
    import click  # noqa: PLC0415 - this file is run by itself, and each part by itself

    from ghostedge.cli import cli  # noqa: PLC0415

    context = click.Context(cli, info_name="ghostedge", terminal_width=80)
    texts = {"": cli.get_help(context)}
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        inner = click.Context(command, context, info_name=name, terminal_width=80)
        texts[name] = command.get_help(inner)
    return {name: text.splitlines() for name, text in texts.items()}


def public_names() -> dict[str, dict[str, Any]]:
    """Package → public name → its parameters, or those of its public members."""
    return {
        package: {name: _described(getattr(module, name)) for name in sorted(set(module.__all__))}
        for package in PACKAGES
        for module in (importlib.import_module(package),)
    }


def _described(value: object) -> Any:
    if inspect.isclass(value):
        members = {
            name: _parameters(getattr(value, name))
            for name in sorted({name for kind in _ours(value) for name in vars(kind)})
            if not name.startswith("_")
        }
        return {"()": _parameters(value), **members}
    return _parameters(value)


def _ours(kind: type) -> list[type]:
    return [base for base in kind.__mro__ if base.__module__.partition(".")[0] in PACKAGES]


def _parameters(value: object) -> str | None:
    """``(path, *, threads=1)``; None of what is not called, such as a property or a constant."""
    if not (callable(value) and (inspect.isroutine(value) or inspect.isclass(value))):
        return None
    try:
        signature = inspect.signature(value)
    except ValueError:  # a class written in C
        return None
    bare = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for parameter in signature.parameters.values()
    ]
    text = str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty))
    return re.sub(r" at 0x[0-9a-f]+", "", text)


def hashes(folder: Path) -> dict[str, dict[str, str]]:
    """Conversion → file → SHA-256 of its bytes; ``folder`` is where the files go."""
    import ghostedge  # noqa: PLC0415 - it brings torch

    _draw(folder / "calib")
    network = GLYPHS / "ghostnet_050_glyphs.safetensors"
    calib = {"calib": folder / "calib", "calib_images": CALIBRATION_IMAGES}
    every = ("float32", "float16", "dynamic", "int8")
    conversions: dict[str, tuple[Path, dict[str, Any]]] = {
        "every precision": (network, {"precision": every, **calib}),
        "per tensor": (network, {"int8": True, "per_channel": False, **calib}),
        "float ONNX": (folder / "every precision" / "net.onnx", {"int8": True, **calib}),
        "quantized ONNX": (folder / "every precision" / "net_int8.onnx", calib),
    }
    for title, (model, options) in conversions.items():
        ghostedge.convert(model, name="net", output=folder / title, **options)
    return {
        title: {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted((folder / title).iterdir())
            if path.suffix in (".onnx", ".tflite")
        }
        for title in conversions
    }


def _draw(folder: Path) -> None:
    spec = importlib.util.spec_from_file_location("generate", GLYPHS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    generate.write_images(folder, count=CALIBRATION_IMAGES, seed=2, size=64, image_format="png")


def snapshot() -> dict[str, Any]:
    """All of it."""
    with tempfile.TemporaryDirectory() as folder:
        return {
            "environment": environment(),
            "click": metadata.version("click"),
            "help": help_texts(),
            "names": public_names(),
            "sha256": hashes(Path(folder)),
        }


def main() -> None:
    """Print the snapshot of the code as it is; ``--write`` stores it, too."""
    parser = argparse.ArgumentParser(description="What a user can rely on, as JSON.")
    parser.add_argument("--write", action="store_true", help=f"store it in {STORED.name}, too")
    text = json.dumps(snapshot(), indent=1, ensure_ascii=False)
    if parser.parse_args().write:
        STORED.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    sys.exit(main())
