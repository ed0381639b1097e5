"""What images say of a network, as `ghostedge inspect --calib` shows it."""

from __future__ import annotations

from rich.table import Table

from ghostedge.records.image_fit import ImageFit, Normalization, NormFit, PreprocessingFit
from ghostedge.show.image_fit import image_fit_tables
from ghostedge.terminal import TextConsole


def candidate(number: int) -> Normalization:
    return Normalization(f"way {number}", (number / 10,) * 3, (1.0,) * 3, "RGB", number / 100)


TRIED = tuple(map(candidate, range(1, 10)))
LAYERS = tuple(NormFit(f"block.{n}.bn/BatchNormalization", n / 10) for n in range(1, 21))


def shown(fit: ImageFit) -> str:
    console = TextConsole(width=120)
    with console.capture() as captured:
        for part in image_fit_tables(fit):
            console.print(part)
    return captured.get()


def test_the_likeliest_preprocessings_are_shown_and_the_one_in_use() -> None:
    doubted = PreprocessingFit("other", True, (), TRIED[8], TRIED[0], TRIED)
    text = shown(ImageFit(64, "64 images", preprocessing=doubted))
    names = [name for name in (f"way {n} " for n in range(1, 10)) if name in text]
    assert names == ["way 1 ", "way 2 ", "way 3 ", "way 4 ", "way 5 ", "way 6 ", "way 9 "]
    assert "0.100, 0.100, 0.100" in text


def test_the_batch_norms_farthest_from_training_are_shown_with_their_place() -> None:
    text = shown(ImageFit(64, "64 images", layers=LAYERS))
    assert "8 of 20 batch norms, the farthest from training first" in text
    rows = [line.split("│")[1:4] for line in text.splitlines() if "block." in line]
    assert [cell.strip() for cell in rows[0]] == ["20", "block.20.bn", "2"]
    assert len(rows) == 8


def test_what_could_not_be_told_is_a_line_and_no_table() -> None:
    parts = [*image_fit_tables(ImageFit(0, "none", not_checked=("preprocessing not checked",)))]
    assert parts == ["preprocessing not checked"]
    assert not any(isinstance(part, Table) for part in parts)
