"""Listing images: what counts, in what order, and how folders become classes."""

from __future__ import annotations

import tempfile
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostedge_runtime.errors import ImageError
from ghostedge_runtime.folders import LabelledImages, list_images, list_labelled


def plant(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return root


def test_images_of_any_depth_and_case_are_listed_in_order(tmp_path: Path) -> None:
    plant(tmp_path, "b.JPG", "a/deep/er.webp", "a/z.png", "c.bmp", "d.jpeg")
    found = [path.relative_to(tmp_path).as_posix() for path in list_images(tmp_path)]
    assert found == ["a/deep/er.webp", "a/z.png", "b.JPG", "c.bmp", "d.jpeg"]


def test_other_files_and_hidden_ones_are_passed_over(tmp_path: Path) -> None:
    plant(tmp_path, "a.png", "notes.txt", "._a.png", ".cache/b.png", "c.gif")
    assert list_images(tmp_path) == [tmp_path / "a.png"]


def test_a_link_back_to_the_top_does_not_loop(tmp_path: Path) -> None:
    plant(tmp_path, "a/x.png")
    (tmp_path / "a" / "top").symlink_to(tmp_path)
    assert list_images(tmp_path) == [tmp_path / "a" / "x.png"]


def test_a_linked_folder_is_followed(tmp_path: Path) -> None:
    real = plant(tmp_path / "real", "x.png")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "linked").symlink_to(real)
    assert list_images(tmp_path / "set") == [tmp_path / "set" / "linked" / "x.png"]


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("absent", "no such folder"),
        ("file.png", "a file, not a folder"),
        ("bare", "no image in this folder"),
    ],
)
def test_a_folder_without_images_is_an_error_that_names_it(
    tmp_path: Path, name: str, complaint: str
) -> None:
    plant(tmp_path, "file.png", "bare/readme.txt")
    with pytest.raises(ImageError, match=complaint) as caught:
        list_images(tmp_path / name)
    assert caught.value.where == str(tmp_path / name)


def test_folders_are_matched_to_labels_by_name_and_a_subset_is_enough(tmp_path: Path) -> None:
    plant(tmp_path, "zebra/1.png", "cat/2.png", "cat/in/1.png", "loose.png")
    listed = list_labelled(tmp_path, ["zebra", "dog", "cat"], 3)
    assert [path.name for path in listed.paths] == ["2.png", "1.png", "1.png"]
    assert listed.targets == (2, 2, 0)
    assert listed.class_names == ("zebra", "dog", "cat")


def test_without_labels_the_sorted_folders_are_the_classes(tmp_path: Path) -> None:
    plant(tmp_path, "b/1.png", "a/1.png", "c/readme.txt")
    listed = list_labelled(tmp_path, None, 3)
    assert listed.targets == (0, 1)
    assert listed.class_names == ("a", "b", "c")


def test_without_labels_a_count_other_than_the_models_is_refused(tmp_path: Path) -> None:
    plant(tmp_path, "a/1.png", "b/1.png")
    with pytest.raises(ImageError, match="2 class folders but the model has 10 classes"):
        list_labelled(tmp_path, None, 10)
    assert list_labelled(tmp_path, None, None).targets == (0, 1)


def test_folders_that_match_no_label_are_named_nearest_first(tmp_path: Path) -> None:
    plant(tmp_path, "Airplane/1.png", "qqq/1.png", "cat/1.png")
    with pytest.raises(ImageError) as caught:
        list_labelled(tmp_path, ["airplane", "cat"], 2)
    message = caught.value.what
    assert "2 of 3 folders" in message
    assert "'Airplane' (closest label: 'airplane')" in message
    assert message.index("'Airplane'") < message.index("'qqq'")
    assert "'airplane', 'cat'" in (caught.value.remedy or "")


def test_a_long_list_of_strangers_is_shortened(tmp_path: Path) -> None:
    plant(tmp_path, *(f"n{i:03d}/1.png" for i in range(40)))
    with pytest.raises(ImageError, match="and 35 more"):
        list_labelled(tmp_path, ["cat"], 1)


def test_a_folder_named_like_two_labels_is_ambiguous(tmp_path: Path) -> None:
    plant(tmp_path, "crane/1.png")
    with pytest.raises(ImageError, match="several classes named 'crane'"):
        list_labelled(tmp_path, ["crane", "bird", "crane"], 3)
    plant(tmp_path / "other", "bird/1.png")
    assert list_labelled(tmp_path / "other", ["crane", "bird", "crane"], 3).targets == (1,)


def test_a_folder_of_loose_images_has_no_labels(tmp_path: Path) -> None:
    plant(tmp_path, "1.png")
    with pytest.raises(ImageError, match="holds no folders"):
        list_labelled(tmp_path, None, None)


def test_class_folders_without_images_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(ImageError, match="no image in its 1 class folders"):
        list_labelled(tmp_path, None, 1)


def test_paths_and_targets_must_be_as_many() -> None:
    with pytest.raises(ValueError, match="2 paths but 1 targets"):
        LabelledImages((Path("a"), Path("b")), (0,), ("x",))


def test_real_class_folders_are_listed(cifar_test: Path) -> None:
    listed = list_labelled(cifar_test, None, 10)
    assert len(listed.paths) == 5000
    assert set(listed.targets) == set(range(10))
    assert listed.class_names[3] == "cat"


LEFT_BEHIND = (
    "__MACOSX/cat/._1.png", "__MACOSX/1.png", ".ipynb_checkpoints/1.png", "@eaDir/1.png",
    "cat/@eaDir/1.png/SYNOPHOTO_THUMB_M.jpg", "cat/.ipynb_checkpoints/1-checkpoint.png",
    "cat/._1.png", "cat/.DS_Store", "cat/Thumbs.db", "Thumbs.db", "desktop.ini", ".hidden/1.png",
    "$RECYCLE.BIN/1.png", "System Volume Information/1.png", "__pycache__/1.png",
)  # fmt: skip


@pytest.mark.parametrize("labels", [None, ["cat", "dog"]])
def test_what_systems_leave_behind_is_neither_class_nor_image(
    tmp_path: Path, labels: list[str] | None
) -> None:
    plant(tmp_path, "cat/1.png", "dog/1.png", *LEFT_BEHIND)
    listed = list_labelled(tmp_path, labels, 2)
    assert listed.paths == (tmp_path / "cat" / "1.png", tmp_path / "dog" / "1.png")
    assert listed.targets == (0, 1)
    assert listed.class_names == ("cat", "dog")
    assert list_images(tmp_path) == list(listed.paths)


@pytest.mark.parametrize("left", LEFT_BEHIND)
def test_each_of_them_alone(tmp_path: Path, left: str) -> None:
    plant(tmp_path, "cat/1.png", left)
    assert list_images(tmp_path) == [tmp_path / "cat" / "1.png"]
    assert list_labelled(tmp_path, None, 1).class_names == ("cat",)


def test_an_empty_folder_that_is_left_over_is_no_class(tmp_path: Path) -> None:
    plant(tmp_path, "a/1.png", "b/1.png", "new folder/notes.txt")
    assert list_labelled(tmp_path, None, 2).class_names == ("a", "b")
    assert list_labelled(tmp_path, None, None).class_names == ("a", "b")
    assert list_labelled(tmp_path, ["b", "a"], 2).targets == (1, 0)


def test_an_empty_folder_stands_for_its_class_where_the_count_says_so(tmp_path: Path) -> None:
    plant(tmp_path, "a/1.png", "c/1.png", "b/notes.txt")
    assert list_labelled(tmp_path, None, 3).targets == (0, 2)


ACCENTED = "aeiouAE\u0301\u0308\u0323\u00e9\u1ea1\u1112\u1161\u11ab\ud55c\u212b"


@given(st.text(ACCENTED, min_size=1, max_size=8))
def test_names_compare_however_their_accents_are_written(name: str) -> None:
    composed, parted = (unicodedata.normalize(form, name) for form in ("NFC", "NFD"))
    with tempfile.TemporaryDirectory() as folder:
        plant(Path(folder), f"{parted}/1.png", "z/1.png")
        listed = list_labelled(folder, ["z", composed], 2)
        assert sorted(listed.targets) == [0, 1]
        assert set(list_labelled(folder, None, 2).class_names) == {composed, "z"}


def test_the_order_of_classes_is_that_of_the_composed_names(tmp_path: Path) -> None:
    """As ImageFolder sorted them on the Linux machine that trained; NFD alone sorts otherwise."""
    plant(tmp_path, "e\u0301tude/1.png", "ez/1.png", "f/1.png")
    assert list_labelled(tmp_path, None, 3).class_names == ("ez", "f", "\u00e9tude")


def test_one_name_written_in_two_ways_is_one_class(tmp_path: Path) -> None:
    plant(tmp_path, "caf\u00e9/1.png", "cafe\u0301/2.png")
    if len(list(tmp_path.iterdir())) == 1:
        pytest.skip("this file system composes names itself")
    listed = list_labelled(tmp_path, None, 1)
    assert listed.targets == (0, 0)
    assert listed.class_names == ("caf\u00e9",)


def test_some_images_can_be_left_out_but_not_all(tmp_path: Path) -> None:
    plant(tmp_path, "a/1.png", "a/2.png", "b/1.png")
    listed = list_labelled(tmp_path, None, 2)
    left = listed.without({tmp_path / "a" / "1.png", tmp_path / "b" / "1.png"})
    assert left == LabelledImages((tmp_path / "a" / "2.png",), (0,), ("a", "b"))
    with pytest.raises(ImageError, match="none of its 3 labelled images"):
        listed.without(set(listed.paths))
