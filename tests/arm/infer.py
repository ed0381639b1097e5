"""Run a model file on images, with nothing but an interpreter and NumPy: here or on emulated ARM.

python infer.py ENGINE MODEL IMAGES.npy OUT.npy
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt


def tflite(interpreter: Any, images: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    target = interpreter.get_output_details()[0]["index"]
    outputs = []
    for image in images:
        interpreter.set_tensor(source, image[None])
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(target))
    return outputs


def litert(path: str, images: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    module = import_module("ai_edge_litert.interpreter")
    return tflite(module.Interpreter(model_path=path), images)


def tflite_runtime(path: str, images: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    module = import_module("tflite_runtime.interpreter")
    return tflite(module.Interpreter(model_path=path), images)


def tflite_runtime_reference(path: str, images: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    module = import_module("tflite_runtime.interpreter")
    kernels = module.OpResolverType.BUILTIN_REF
    interpreter = module.Interpreter(model_path=path, experimental_op_resolver_type=kernels)
    return tflite(interpreter, images)


def onnxruntime(path: str, images: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    ort = import_module("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return [session.run(None, {name: image[None]})[0] for image in images]


ENGINES = {
    "ai-edge-litert": litert,
    "onnxruntime": onnxruntime,
    "tflite-runtime": tflite_runtime,
    "tflite-runtime reference kernels": tflite_runtime_reference,
}


if __name__ == "__main__":
    engine, model, source, target = sys.argv[1:]
    np.save(target, np.concatenate(ENGINES[engine](model, np.load(source))))
