"""Convert an ONNX model to a float32 TFLite with onnx2tf's defaults, NHWC input.

Runs inside the environment that ``onnx2tf.txt`` describes. onnx2tf writes a float16 file beside,
which its users pay for too. ``--backend`` picks the writer, as in ``onnx2tf_int8.py``.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from importlib import import_module
from pathlib import Path

import onnx2tf  # type: ignore[import-not-found]  # only in the peer's environment


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--onnx", type=Path, required=True, help="float ONNX, NCHW")
    parser.add_argument("--calibration", type=Path, help="not needed: every peer is given it")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--backend", default="flatbuffer_direct")
    args = parser.parse_args()
    peer = import_module("onnx2tf_int8")  # beside this script, which mypy does not know
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        onnx2tf.convert(
            input_onnx_file_path=str(args.onnx),
            output_folder_path=str(out),
            verbosity="warn",
            **peer._backend(args.backend),
        )
        (written,) = out.glob("*_float32.tflite")
        shutil.move(written, args.output)


if __name__ == "__main__":
    main()
