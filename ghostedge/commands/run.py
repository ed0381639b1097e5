"""``ghostedge run``: what is on these pictures?"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

import click

from ghostedge.commands._common import PATH, json_option, print_json, stdout
from ghostedge.tables import classification_table
from ghostedge_runtime import Model
from ghostedge_runtime.errors import ImageError
from ghostedge_runtime.images import list_images


@click.command("run")
@click.argument("model", type=PATH)
@click.argument("images", type=PATH, nargs=-1, required=True, metavar="IMAGE...")
@click.option("--top-k", type=click.IntRange(1), default=3, show_default=True, help="Guesses each.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
@json_option
def command(model: Path, images: tuple[Path, ...], top_k: int, threads: int, as_json: bool) -> None:
    """Classify each IMAGE, or each image in a folder, with MODEL (.tflite or .onnx).

    Prints label, score and milliseconds: the whole way from file to label, which is decoding,
    resizing, normalising and inference.
    """
    results, refused = [], []
    with Model(model, threads=threads) as loaded:
        for image in _files(images):
            start = time.perf_counter()
            try:
                guesses = loaded.classify(image, top_k)
            except ImageError as error:  # one bad picture among many does not cost the others
                refused.append(error)
                continue
            results.append((str(image), guesses, 1000 * (time.perf_counter() - start)))
    if as_json:
        print_json(
            [
                {"image": image, "ms": ms, "classes": [asdict(guess) for guess in guesses]}
                for image, guesses, ms in results
            ]
        )
    elif results:
        stdout().print(classification_table(results))
    if refused:
        for earlier in refused[:-1]:
            click.echo(f"error: {earlier}", err=True)
        raise refused[-1]


def _files(images: Iterable[Path]) -> Iterator[Path]:
    """The images named, and those in the folders named."""
    for image in images:
        if image.is_dir():
            yield from list_images(image)
        else:
            yield image
