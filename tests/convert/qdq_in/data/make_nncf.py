"""Makes nncf_*.onnx from the float.onnx beside it.

NNCF is no dependency of the tests, so its output is committed. This ran in an environment of its
own, Python 3.11 on x86-64:

    pip install nncf==3.4.0 onnx==1.23.2 onnxruntime==1.31.1
    python make_nncf.py

The calibration inputs are random with a fixed seed.
"""

from __future__ import annotations

from pathlib import Path

import nncf
import numpy as np
import onnx

HERE = Path(__file__).parent
SAMPLES = 16


def main() -> None:
    rng = np.random.default_rng(0)
    inputs = [rng.standard_normal((1, 3, 32, 32)).astype(np.float32) for _ in range(SAMPLES)]
    for preset in (nncf.QuantizationPreset.PERFORMANCE, nncf.QuantizationPreset.MIXED):
        quantized = nncf.quantize(
            onnx.load(HERE / "float.onnx"),
            nncf.Dataset(inputs, lambda sample: {"image": sample}),
            subset_size=SAMPLES,
            preset=preset,
        )
        del quantized.metadata_props[:]
        onnx.save(quantized, HERE / f"nncf_{preset.value}.onnx")


if __name__ == "__main__":
    main()
