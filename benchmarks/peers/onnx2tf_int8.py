"""Convert an ONNX model to a fully integer int8 TFLite with onnx2tf, as its README says to.

Runs inside the environment that ``onnx2tf.txt`` describes, never in the product's: the benchmark
starts it as a child process and times it. Per-channel weights (onnx2tf's default), int8 input and
output, calibrated on the given images; nothing is downloaded. ``--backend`` picks the writer:
``flatbuffer_direct`` is the default of onnx2tf 2.x, ``tf_converter`` (TensorFlow Lite's own
converter) the only one of 1.x.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from importlib import import_module
from pathlib import Path

import numpy as np
import onnx2tf  # type: ignore[import-not-found]  # only in the peer's environment

pixels = import_module("pixels")  # beside this script, which mypy does not know
INPUT = "input"
# 1.x looks for test images of this name in the working folder before it downloads them.
SAMPLE = "calibration_image_sample_data_20x128x128x3_float32.npy"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--onnx", type=Path, required=True, help="float ONNX, NCHW")
    parser.add_argument("--calibration", type=Path, required=True, help=".npy, uint8 [N,H,W,3]")
    parser.add_argument("--output", type=Path, required=True)
    pixels.add_arguments(parser)
    parser.add_argument("--backend", default="flatbuffer_direct")
    parser.add_argument(
        "--quant-type", default="per-channel", choices=["per-channel", "per-tensor"]
    )
    parser.add_argument("--io", default="int8", choices=["int8", "uint8", "float32"])
    args = parser.parse_args()
    model, calibration, output = (
        str(path.resolve()) for path in (args.onnx, args.calibration, args.output)
    )
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        os.chdir(work)
        scaled = work / "calibration.npy"  # onnx2tf wants float in [0, 1]; it applies mean and std
        images = np.load(calibration).astype(np.float32) / 255
        np.save(scaled, images)
        np.save(work / SAMPLE, images[:20, :128, :128])
        onnx2tf.convert(
            input_onnx_file_path=model,
            output_folder_path=str(work / "out"),
            output_integer_quantized_tflite=True,
            input_quant_dtype=args.io,
            output_quant_dtype=args.io,
            custom_input_op_name_np_data_path=[
                [INPUT, str(scaled), [[[args.mean]]], [[[args.std]]]]
            ],
            verbosity="warn",
            **_backend(args.backend),
        )
        (written,) = (work / "out").glob("*_full_integer_quant.tflite")
        shutil.move(written, output)


def _backend(name: str) -> dict[str, str]:
    """The backend as keyword arguments; 1.x has no such option and only the TensorFlow path."""
    if not onnx2tf.__version__.startswith("1."):
        return {"tflite_backend": name}
    if name != "tf_converter":
        raise SystemExit(f"onnx2tf {onnx2tf.__version__} has no backend {name}; 2.x has")
    return {}


if __name__ == "__main__":
    main()
