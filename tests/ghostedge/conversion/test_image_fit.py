"""Images held against batch norms: what is replaced, what is doubted, what cannot be told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from torch import nn

from ghostedge.console import SilentReporter, StageClock
from ghostedge.conversion import image_fit
from ghostedge.conversion.image_fit import fit_images, hold_images, images_to_hold
from ghostedge.conversion.images import Batches, ImageSet
from ghostedge.conversion.options import ConvertOptions
from ghostedge.conversion.source import FloatSource
from ghostedge.conversion.sources import load_module
from ghostedge.records.image_fit import NO_IMAGES, NO_NORMS, UNTRAINED
from ghostedge_convert.sources.module import load_module as in_memory
from ghostedge_runtime.images import LabelledImages
from ghostedge_runtime.metadata import Preprocessing

SIDE = 32
PLAIN = Preprocessing((SIDE, SIDE), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
CENTRED = Preprocessing((SIDE, SIDE), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


def drawn(count: int, channels: int = 3) -> ImageSet:
    """Blurred noise over plain colours, red before blue."""
    random = np.random.default_rng(0)
    images = []
    for _ in range(count):
        color = random.uniform(40, 215) + np.array([30, 0, -30, 20])[:channels]
        noise = color + random.normal(0, 200, (SIDE, SIDE, channels))
        pixels = noise.clip(0, 255).astype(np.uint8)
        image = Image.fromarray(pixels if channels > 1 else pixels[..., 0])
        images.append(image.filter(ImageFilter.BoxBlur(1)))
    return ImageSet(images, f"{count} drawn images")


def classifier(channels: int = 3, before: nn.Module | None = None) -> nn.Sequential:
    """A classifier of two batch norms, after another module where one is given."""
    torch.manual_seed(0)
    return nn.Sequential(
        before or nn.Identity(),
        nn.Conv2d(channels, 16, 3, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 8, 3, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 4),
    )


def remembering(network: nn.Sequential, images: ImageSet, trained: Preprocessing) -> nn.Sequential:
    """The network, its batch norms remembering these images prepared so."""
    for layer in network:
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None
    batch = np.concatenate([*Batches(images, trained, 1)])
    with torch.no_grad():
        network.train()(torch.from_numpy(batch))
    return network.eval()


@pytest.fixture(scope="module")
def images() -> ImageSet:
    return drawn(40)


@pytest.fixture(scope="module")
def source_for(images: ImageSet) -> Callable[[Preprocessing], FloatSource]:
    """A source whose weights were trained on images prepared in some way, taken as ImageNet's."""

    def source(trained: Preprocessing) -> FloatSource:
        network = remembering(classifier(), images, trained)
        loaded = in_memory(network, (1, 3, SIDE, SIDE))
        return load_module(loaded, ConvertOptions.of("net.pt"))

    return source


@pytest.fixture(scope="module")
def plain(source_for: Callable[[Preprocessing], FloatSource]) -> FloatSource:
    return source_for(PLAIN)


def test_an_assumed_preprocessing_gives_way_to_the_one_that_was_measured(plain, images):
    assert plain.assumed == {"mean", "std", "color_order"}
    source, fit = fit_images(plain, images)
    assert source.preprocessing.mean == (0.0, 0.0, 0.0)
    assert source.preprocessing.std == (1.0, 1.0, 1.0)
    assert source.preprocessing.input_size == plain.preprocessing.input_size
    assert fit.preprocessing.replaced == ("mean", "std")
    assert fit.preprocessing.in_use.mean == (0.485, 0.456, 0.406)
    assert fit.doubts == ()
    facts = {fact.name: fact for fact in source.inferred}
    assert facts["mean"].value == "0, 0, 0"
    assert facts["mean"].origin.startswith("measured on 40 images: misfit ")
    assert facts["std"].origin.endswith(" of the assumed 0.229, 0.224, 0.225")
    assert facts["crop_pct"] in plain.inferred


def test_a_stated_preprocessing_is_doubted_and_stays(plain, images):
    stated = replace(plain, assumed=frozenset())
    source, fit = fit_images(stated, images)
    assert source.preprocessing == stated.preprocessing
    assert source.inferred == stated.inferred
    assert fit.preprocessing.replaced == ()
    (doubt,) = fit.doubts
    assert doubt.startswith(
        "preprocessing does not fit: on 40 drawn images 0 to 1, RGB does better"
    )
    assert doubt.endswith("--mean 0,0,0 --std 1,1,1")


def test_one_stated_field_keeps_the_others_from_being_replaced(plain, images):
    stated = replace(plain, assumed=frozenset({"std"}))
    source, fit = fit_images(stated, images)
    assert source.preprocessing == stated.preprocessing
    assert len(fit.doubts) == 1


def test_a_preprocessing_that_fits_is_said_to_and_nothing_changes(plain, images):
    fitting = replace(plain, preprocessing=PLAIN)
    source, fit = fit_images(fitting, images)
    assert source.preprocessing == PLAIN
    assert fit.preprocessing.verdict == "fits"
    assert next(fit.lines).startswith("preprocessing fits: 0 to 1, RGB (misfit ")
    assert [layer.divergence < 0.01 for layer in fit.layers] == [True, True]
    assert fit.network.verdict == "fits"
    assert fit.network.evidence not in [*fit.lines]  # what fits is said once


def test_what_was_exported_is_kept_so_that_nothing_is_exported_twice(plain, images):
    assert fit_images(replace(plain, exported=None), images)[0].exported is not None


def test_a_network_without_batch_norms_cannot_be_told(images):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    loaded = in_memory(network.eval(), (1, 3, SIDE, SIDE))
    source = load_module(loaded, ConvertOptions.of("net.pt"))
    after, fit = fit_images(source, images)
    assert after.preprocessing == source.preprocessing
    assert fit.not_checked == (NO_NORMS,)
    assert fit.doubts == ()


def test_a_network_that_was_never_trained_is_said_to_be_untrained(images):
    loaded = in_memory(classifier().eval(), (1, 3, SIDE, SIDE))
    _, fit = fit_images(load_module(loaded, ConvertOptions.of("net.pt")), images)
    assert fit.not_checked == (UNTRAINED,)


def test_what_is_not_affine_before_the_first_batch_norm_leaves_the_depth_to_look_at(images):
    network = remembering(classifier(before=nn.ReLU()), images, CENTRED)
    loaded = in_memory(network, (1, 3, SIDE, SIDE))
    _, fit = fit_images(load_module(loaded, ConvertOptions.of("net.pt")), images)
    assert fit.preprocessing is None
    assert "so it cannot be told" in fit.not_checked[0]
    assert len(fit.layers) == 2


@pytest.mark.parametrize("channels", [1, 4])
def test_grey_and_transparent_images_are_held_against_weights_too(channels):
    shown = drawn(40, channels)
    taken = Preprocessing((SIDE, SIDE), mean=(0.5,) * channels, std=(0.5,) * channels)
    network = remembering(classifier(channels), shown, taken)
    loaded = in_memory(network, (1, channels, SIDE, SIDE))
    source, fit = fit_images(load_module(loaded, ConvertOptions.of("net.pt")), shown)
    assert fit.preprocessing.in_use.mean == (0.0,) * channels  # pixels / 255, assumed
    assert source.preprocessing.mean[0] == pytest.approx(0.5, abs=0.01)
    assert source.preprocessing.std[0] == pytest.approx(0.5, abs=0.01)


def test_weights_of_another_network_are_doubted_from_where_it_begins(images):
    network = remembering(classifier(), images, PLAIN)
    network[3] = nn.Hardtanh(0.0, 0.05)  # where it was trained with a ReLU
    loaded = in_memory(network, (1, 3, SIDE, SIDE))
    _, fit = fit_images(load_module(loaded, ConvertOptions.of("net.pt")), images)
    assert fit.preprocessing.replaced == ("mean", "std")
    assert fit.network.verdict == "wrong"
    assert fit.network.begins_at == fit.layers[1].layer
    assert fit.doubts == (fit.network.evidence,)
    assert fit.network.evidence in [*fit.lines]


def test_a_blank_image_is_doubted_and_too_few_images_are_only_said(plain, images):
    fitting = replace(plain, preprocessing=PLAIN)
    blank = Image.new("RGB", (SIDE, SIDE), (128, 128, 128))
    _, fit = fit_images(fitting, ImageSet([*images.sources, blank], "41 images"))
    assert [finding.kind for finding in fit.findings] == ["blank"]
    assert fit.doubts == tuple(map(str, fit.findings))
    _, fit = fit_images(fitting, ImageSet(images.sources[:8], "8 images"))
    assert [finding.kind for finding in fit.findings] == ["too few"]
    assert str(fit.findings[0]) in [*fit.lines]
    assert fit.doubts == ()


def test_few_images_under_a_wrong_preprocessing_are_not_called_unlike(plain, images):
    _, fit = fit_images(plain, ImageSet(images.sources[:8], "8 images"))
    assert (fit.preprocessing.verdict, fit.preprocessing.overwhelming) == ("other", False)
    assert [finding.kind for finding in fit.findings] == ["too few"]


def test_an_assumed_input_size_is_the_first_suspect_where_images_do_not_fit(plain, images):
    assumed = replace(plain, assumed=plain.assumed | {"input_size"})
    _, fit = fit_images(assumed, images)
    assert [finding.kind for finding in fit.findings] == []  # measured: all fits
    _, fit = fit_images(assumed, ImageSet(images.sources[:8], "8 images"))
    assert [finding.kind for finding in fit.findings] == ["input size", "too few"]
    assert fit.findings[0].evidence.startswith("the input size of 32×32 was only assumed")
    assert fit.doubts == ()
    _, fit = fit_images(plain, ImageSet(images.sources[:8], "8 images"))
    assert [finding.kind for finding in fit.findings] == ["too few"]  # the network's own size


def test_of_images_without_colours_the_order_is_not_checked(plain, images):
    grey = ImageSet([image.convert("L").convert("RGB") for image in images.sources], "40 images")
    _, fit = fit_images(plain, grey)
    assert "order of colours not checked: the images have no colours" in fit.not_checked
    assert {each.color_order for each in fit.preprocessing.candidates} == {"RGB"}


def test_a_failure_costs_its_own_answer_and_says_whose_fault_it_is(plain, images, monkeypatch):
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no luck")

    monkeypatch.setattr(image_fit, "examine_images", broken)
    source, fit = fit_images(plain, images)
    assert source.preprocessing.mean == (0.0, 0.0, 0.0)
    (reason,) = fit.not_checked
    assert reason.startswith("images not checked: RuntimeError: no luck (a fault of GhostEdge")
    assert reason in [*fit.lines]


def test_an_image_that_cannot_be_decoded_is_named(plain, images, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"\x89PNG")
    bad = ImageSet([*images.sources, tmp_path / "bad.png"], "41 images")
    _, fit = fit_images(plain, bad)
    assert "bad.png" in fit.not_checked[0]
    assert "fault of GhostEdge" not in fit.not_checked[0]


def test_without_images_it_is_said_how_to_check(plain):
    notes: list[str] = []
    clock = StageClock(SilentReporter())
    clock.note = notes.append  # type: ignore[method-assign] # to read them
    source, fit = hold_images(plain, None, clock)
    assert source is plain
    assert fit.images == 0
    assert notes == [f"  {NO_IMAGES}"]
    assert "--calib FOLDER" in NO_IMAGES


def test_at_most_64_images_of_calib_else_of_eval_are_held_against_the_weights(plain):
    paths = tuple(Path(f"{number}.png") for number in range(200))
    scored = replace(plain, evaluation=LabelledImages(paths, (0,) * 200, ("a",)))
    calibration = ImageSet(paths[:10], "10 calibration images")
    assert images_to_hold(scored, calibration).description == "10 images of --calib"
    chosen = images_to_hold(scored, None)
    assert chosen.description == "64 images of --eval"
    assert (chosen.sources[0], chosen.sources[-1]) == (paths[0], paths[-1])
    assert images_to_hold(plain, None) is None
