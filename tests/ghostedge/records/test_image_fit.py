"""What is kept of images held against a network, in words and through JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

from ghostedge.records.image_fit import (
    NO_NORMS,
    ImageFinding,
    ImageFit,
    NetworkFit,
    Normalization,
    NormFit,
    PreprocessingFit,
)
from ghostedge_runtime.decode import decode

IMAGENET = Normalization(
    "ImageNet's mean and std", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "RGB", 0.82
)
LITE = Normalization("(x - 127) / 128", (127 / 255,) * 3, (128 / 255,) * 3, "RGB", 0.002)
CAFFE = Normalization("Caffe's means", (0.4, 0.45, 0.48), (1 / 255,) * 3, "BGR", 0.004)
OTHER = PreprocessingFit("other", True, (), IMAGENET, LITE, (LITE, CAFFE, IMAGENET))
ON = "64 images of --calib"


def test_what_fits_is_said_in_a_line():
    fits = PreprocessingFit("fits", False, (), LITE, LITE, (LITE, IMAGENET))
    assert fits.sentence(ON) == (
        "preprocessing fits: (x - 127) / 128, RGB (misfit 0.002 on 64 images of --calib)"
    )
    assert not fits.is_doubted


def test_what_was_assumed_is_named_beside_what_was_measured():
    measured = replace(OTHER, replaced=("mean", "std"))
    assert measured.sentence(ON) == (
        "preprocessing measured on 64 images of --calib: (x - 127) / 128, RGB (misfit 0.002, "
        "against 0.82 of ImageNet's mean and std, RGB, which was only assumed)"
    )
    assert not measured.is_doubted


def test_what_was_stated_is_doubted_with_the_flags_that_state_the_other():
    doubted = replace(OTHER, overwhelming=True)
    assert doubted.is_doubted
    assert doubted.sentence(ON) == (
        "preprocessing does not fit: on 64 images of --calib (x - 127) / 128, RGB does better "
        "(misfit 0.002, against 0.82 of ImageNet's mean and std, RGB); if it was so in "
        "training, --mean 0.498039,0.498039,0.498039 --std 0.501961,0.501961,0.501961"
    )


def test_no_flags_are_advised_where_the_evidence_is_not_overwhelming():
    unsure = replace(OTHER, overwhelming=False)
    assert not unsure.is_doubted
    assert unsure.sentence(ON) == (
        "preprocessing not sure: on 64 images of --calib (x - 127) / 128, RGB is likelier than "
        "ImageNet's mean and std, RGB (misfit 0.002 and 0.82), which is too little to go by; "
        "see to the input size and to what is said of the images, or take more of them"
    )


def test_images_that_are_unlike_training_even_so_replace_nothing():
    strange = replace(OTHER, overwhelming=False, unlike=0.4)
    assert not strange.is_doubted
    assert strange.sentence(ON) == (
        "preprocessing not sure: on 64 images of --calib (x - 127) / 128, RGB is likelier than "
        "ImageNet's mean and std, RGB (misfit 0.002, against 0.82 of ImageNet's mean and std, "
        "RGB), but the images are unlike those of training with it too (mean divergence 0.4 over "
        "the first quarter of the batch norms), so it replaces nothing; give images of the kind "
        "that the network was trained on"
    )


def test_what_would_fit_as_well_is_named():
    either = PreprocessingFit("fits", False, (), LITE, LITE, (LITE,), as_likely=(CAFFE, IMAGENET))
    assert either.sentence(ON) == (
        "preprocessing fits: (x - 127) / 128, RGB (misfit 0.002 on 64 images of --calib); "
        "Caffe's means, BGR and ImageNet's mean and std, RGB would fit as well: these images do "
        "not tell them apart"
    )


def test_flags_name_only_what_differs():
    turned = replace(LITE, color_order="BGR")
    assert turned.flags_instead_of(LITE) == "--color-order BGR"
    assert CAFFE.flags_instead_of(replace(CAFFE, mean=(0.0,) * 3)) == "--mean 0.4,0.45,0.48"


def test_grey_images_have_no_order_of_colours():
    assert str(Normalization("0 to 1", (0.0,), (1.0,), "RGB", 0.0)) == "0 to 1"


def test_every_line_is_said_and_the_worst_layers_come_first():
    fit = ImageFit(
        64,
        ON,
        not_checked=("images not checked: for a reason",),
        preprocessing=OTHER,
        network=NetworkFit("wrong", "b", "the network is another"),
        layers=(NormFit("a", 0.1), NormFit("b", 3.0), NormFit("c", 2.0)),
        findings=(ImageFinding("blank", "2 images are blank", "take them out"),),
    )
    assert [line.partition(":")[0] for line in fit.lines] == [
        "images not checked",
        "preprocessing does not fit",
        "the network is another",
        "2 images are blank; take them out",
    ]
    assert [layer.layer for layer in fit.worst] == ["b", "c", "a"]


def test_a_fit_comes_back_from_json_as_it_was():
    fit = ImageFit(64, ON, (NO_NORMS,), OTHER, NetworkFit("fits", None, "it fits"))
    document = json.loads(json.dumps(asdict(fit)))
    assert decode(ImageFit, document, where=Path("manifest.json"), place="image_fit") == fit
