"""``ghostedge run``: what is on these pictures?"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

import click

from ghostedge.commands._common import PATH, json_option, print_json, stderr, stdout
from ghostedge.show.tables import OutputSummary, classification_table, outputs_table, summaries
from ghostedge_runtime import Classification, Model
from ghostedge_runtime.errors import ImageError
from ghostedge_runtime.images import list_images

T = TypeVar("T")


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

    Of a network that scores no classes (boxes, masks, feature maps, embeddings) it prints each
    output's shape and numbers; the arrays themselves are for ghostedge_runtime.Model.values().
    """
    refused: list[ImageError] = []
    with Model(model, threads=threads) as loaded:
        if loaded.is_classifier:
            _classify(loaded, images, top_k, refused, as_json=as_json)
        else:
            _describe(loaded, images, refused, as_json=as_json)
    if refused:
        for earlier in refused[:-1]:
            stderr().say(f"error: {earlier}")
        raise refused[-1]


def _classify(
    model: Model, images: Iterable[Path], top_k: int, refused: list[ImageError], *, as_json: bool
) -> None:
    def guess(image: Path) -> tuple[Classification, ...]:
        return model.classify(image, top_k)

    results = list(_timed(guess, images, refused))
    if as_json:
        print_json(
            [
                {"image": image, "ms": ms, "classes": [asdict(guess) for guess in guesses]}
                for image, guesses, ms in results
            ]
        )
    elif results:
        stdout().print(classification_table(results))


def _describe(
    model: Model, images: Iterable[Path], refused: list[ImageError], *, as_json: bool
) -> None:
    def outputs(image: Path) -> tuple[OutputSummary, ...]:
        return summaries(model.values(image))

    results = list(_timed(outputs, images, refused))
    if as_json:
        print_json(
            [
                {"image": image, "ms": ms, "outputs": [asdict(output) for output in summary_rows]}
                for image, summary_rows, ms in results
            ]
        )
    elif results:
        stdout().print(outputs_table(results))


def _timed(
    work: Callable[[Path], T], images: Iterable[Path], refused: list[ImageError]
) -> Iterator[tuple[str, T, float]]:
    """Each image's name, what ``work`` makes of it, and the milliseconds that took.

    One bad picture among many does not cost the others: its error is added to ``refused``.
    """
    for image in _files(images):
        start = time.perf_counter()
        try:
            result = work(image)
        except ImageError as error:
            refused.append(error)
            continue
        yield str(image), result, 1000 * (time.perf_counter() - start)


def _files(images: Iterable[Path]) -> Iterator[Path]:
    """The images named, and those in the folders named."""
    for image in images:
        if image.is_dir():
            yield from list_images(image)
        else:
            yield image
