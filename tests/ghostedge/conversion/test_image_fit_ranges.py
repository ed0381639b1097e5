"""What calibration's ranges say of the images, in words."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from ghostedge.conversion.image_fit import range_findings, range_fits, with_ranges
from ghostedge.conversion.images import ImageSet
from ghostedge.records.image_fit import ImageFit, RangeFit
from ghostedge_quantize.ranges.use import RangeUse


def _range(place: int, clipped_pct: float = 0.01, widening: float = 1.1) -> RangeFit:
    return RangeFit(f"layer.{place}", clipped_pct, "sun.jpg", widening)


def test_ranges_like_those_of_fitting_images_say_nothing() -> None:
    assert list(range_findings([_range(i, 0.4, 1.4) for i in range(50)])) == []


def test_an_image_that_sets_half_of_the_ranges_is_named_with_the_worst() -> None:
    ranges = [_range(i, widening=3.0 if i % 2 else 1.0) for i in range(10)]
    ranges[3] = _range(3, widening=4.2)
    (finding,) = range_findings(ranges)
    assert finding.kind == "one image"
    assert finding.evidence == (
        "sun.jpg alone sets 5 of 10 int8 ranges; layer.3 is 4.2 times as wide as the others need"
    )


def test_ranges_that_clip_much_are_named_the_worst_first() -> None:
    ranges = [_range(i, clipped_pct=float(i)) for i in range(5)]
    (finding,) = range_findings(ranges)
    assert finding.kind == "saturates"
    assert "4 of 5 int8 ranges" in finding.evidence
    assert finding.evidence.endswith("layer.4 4.0 %, layer.3 3.0 %, layer.2 2.0 %")


def test_images_are_called_by_their_files_those_that_fill_up_a_batch_by_the_last() -> None:
    images = ImageSet([Path("a/one.jpg"), Path("a/two.jpg")], "2 images")
    uses = (RangeUse("x", 0.25, 0, 2.0), RangeUse("y", 0.0, 3, 1.0))
    prepared = SimpleNamespace(ranges=SimpleNamespace(uses=uses))
    assert range_fits(prepared, images) == (
        RangeFit("x", 25.0, "one.jpg", 2.0),
        RangeFit("y", 0.0, "two.jpg", 1.0),
    )
    fit = with_ranges(ImageFit(2, "2 images"), prepared, images)
    assert [finding.kind for finding in fit.findings] == ["one image", "saturates"]


def test_without_calibration_nothing_is_added() -> None:
    fit = ImageFit(2, "2 images")
    assert with_ranges(fit, None, None) is fit
