"""What is stated of a MODEL's preprocessing, and what is assumed."""

from __future__ import annotations

import pytest
from PIL import Image

from ghostedge.conversion.checkpoint import load_family_checkpoint
from ghostedge.conversion.options import ConvertOptions
from ghostedge.conversion.source import assumed_fields, check_channels
from ghostedge_convert import ResolvedPreprocessing
from ghostedge_runtime.errors import InputError
from ghostedge_runtime.images import prepare
from ghostedge_runtime.metadata import Preprocessing

DEFAULT = ResolvedPreprocessing(Preprocessing(), "family default")
CONFIG = ResolvedPreprocessing(Preprocessing(), "config.json")
WITHOUT_STD = ResolvedPreprocessing(Preprocessing(), "config.json", ("std",))
SIZE_ONLY = ResolvedPreprocessing(Preprocessing(), "config.json", ("crop_pct", "mean", "std"))
HALF = (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("resolved", "flags", "assumed"),
    [
        (DEFAULT, {}, {"input_size", "mean", "std", "color_order"}),
        (DEFAULT, {"crop_pct": 1.0}, {"input_size", "mean", "std", "color_order"}),
        (DEFAULT, {"color_order": "RGB"}, {"input_size", "mean", "std"}),
        (DEFAULT, {"mean": HALF, "std": HALF}, {"input_size"}),
        (DEFAULT, {"mean": HALF}, {"input_size", "std"}),
        (CONFIG, {}, set()),
        (WITHOUT_STD, {}, {"std"}),
        (SIZE_ONLY, {}, {"mean", "std", "color_order"}),
    ],
)
def test_what_neither_a_flag_nor_a_configuration_states_is_assumed(resolved, flags, assumed):
    assert assumed_fields(resolved, ConvertOptions.of("net.pt", **flags)) == assumed


def test_a_stated_colour_order_is_the_files_and_swaps_an_images_channels(example_checkpoint):
    options = ConvertOptions.of(example_checkpoint, color_order="BGR")
    source = load_family_checkpoint(options)
    assert source.preprocessing.color_order == "BGR"
    facts = {fact.name: (fact.value, fact.origin) for fact in source.inferred}
    assert facts["color_order"] == ("BGR", "from --color-order")
    assert source.preprocessing.mean == (0.406, 0.456, 0.485)
    assert source.preprocessing.std == (0.225, 0.224, 0.229)
    red = Image.new("RGB", (64, 64), (255, 10, 20))
    assert prepare(red, source.preprocessing)[0, 0].tolist() == [20, 10, 255]


def test_a_stated_mean_is_in_the_stated_order_of_colours(example_checkpoint):
    options = ConvertOptions.of(example_checkpoint, color_order="BGR", mean=(0.4, 0.5, 0.6))
    preprocessing = load_family_checkpoint(options).preprocessing
    assert preprocessing.mean == (0.4, 0.5, 0.6)
    assert preprocessing.std == (0.225, 0.224, 0.229)


def test_a_colour_order_of_grey_images_is_refused():
    grey = Preprocessing(mean=(0.5,), std=(0.5,), color_order="BGR")
    with pytest.raises(InputError, match="grey images") as error:
        check_channels(grey, 1)
    assert error.value.where == "--color-order"


def test_a_configuration_that_states_mean_and_std_leaves_nothing_to_assume(example_checkpoint):
    assert load_family_checkpoint(ConvertOptions.of(example_checkpoint)).assumed == frozenset()
