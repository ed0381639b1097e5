"""An app on ``ghostedge-runtime`` alone: classify images, or each one moved into a folder."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from ghostedge_runtime import Model
from ghostedge_runtime.errors import GhostEdgeError, ImageError
from ghostedge_runtime.folders import SUFFIXES


def arrivals(folder: Path) -> Iterator[Path]:
    """Yield each image of a folder, then those that appear in it, without end."""
    if not folder.is_dir():
        raise ImageError("there is no such folder", where=folder, remedy="make it first")
    seen: set[Path] = set()
    while True:
        images = {path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES}
        yield from sorted(images - seen)
        seen = images
        time.sleep(0.5)


def report(model: Model, path: Path) -> int:
    """Print path, label, score and milliseconds; one bad image must not stop the others."""
    start = time.perf_counter()
    try:
        best = model.classify(path, top_k=1)[0]
    except ImageError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    seconds = time.perf_counter() - start
    print(f"{path}\t{best.label}\t{best.score:.3f}\t{seconds * 1e3:.1f} ms", flush=True)
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help=".tflite or .onnx file written by ghostedge")
    parser.add_argument("images", type=Path, nargs="*")
    parser.add_argument("--watch", type=Path, metavar="FOLDER", help="classify what appears here")
    args = parser.parse_args()
    if bool(args.images) == bool(args.watch):
        parser.error("give images, or a folder with --watch")
    with Model(args.model) as model:
        return max(report(model, path) for path in args.images or arrivals(args.watch))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except GhostEdgeError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
