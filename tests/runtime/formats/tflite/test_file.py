"""Metadata of a .tflite file, and files that are damaged or no model at all."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from ai_edge_litert import schema_py_generated as tfl
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostedge_runtime import Model
from ghostedge_runtime.errors import ModelFileError
from ghostedge_runtime.formats.tflite.file import check_structure, read_tflite_metadata
from ghostedge_runtime.metadata import (
    ArchitectureInfo,
    ModelMetadata,
    QuantizationInfo,
    Source,
)

Describe = Callable[..., ModelMetadata]
MakeTFLite = Callable[..., bytes]


def test_metadata_comes_back_as_it_went_in(make_tflite: MakeTFLite, metadata_for: Describe) -> None:
    metadata = metadata_for(
        "uint8",
        architecture=ArchitectureInfo("ghostnet_100", "ghostnet", 1.0, 3),
        precision="int8",
        quantization=QuantizationInfo(
            "minmax", 500, "int8", 0.1, -3, False, True, "full", "adaptive", ("/stem/conv",)
        ),
        source=Source("model.pt", "0" * 64),
        producer="ghostedge 0.1.0",
    )
    assert read_tflite_metadata(make_tflite(metadata=metadata)) == metadata


def test_metadata_of_a_file_from_before_a_field_existed_still_reads(
    metadata_for: Describe,
) -> None:
    metadata = metadata_for("uint8", quantization=QuantizationInfo("mse", 9, "float32"))
    document = json.loads(metadata.to_json())
    first_had = {"ranges", "calibration_images", "output_type"}
    for name in document["quantization"].keys() - first_had:
        del document["quantization"][name]
    assert ModelMetadata.from_json(json.dumps(document)) == metadata


def test_a_file_without_our_metadata_reads_as_none(make_tflite: MakeTFLite) -> None:
    assert read_tflite_metadata(make_tflite()) is None


def test_metadata_of_another_name_is_not_ours(make_tflite: MakeTFLite) -> None:
    data = make_tflite(metadata="{}")
    assert read_tflite_metadata(data.replace(b"ghostedge\0", b"ghostship\0")) is None


def test_metadata_that_is_not_json_is_an_error_that_names_the_file(
    make_tflite: MakeTFLite,
) -> None:
    with pytest.raises(ModelFileError, match="metadata cannot be read") as caught:
        read_tflite_metadata(make_tflite(metadata="not json"), "x.tflite")
    assert caught.value.where == "x.tflite"


def test_a_newer_schema_is_refused_with_the_upgrade(
    make_tflite: MakeTFLite, metadata_for: Describe
) -> None:
    document = json.loads(metadata_for("uint8").to_json())
    document["schema_version"] = 99
    with pytest.raises(ModelFileError, match="newer") as caught:
        read_tflite_metadata(make_tflite(metadata=json.dumps(document)))
    assert "pip install -U" in (caught.value.remedy or "")


def test_a_buffer_behind_the_flatbuffer_is_read(
    make_tflite: MakeTFLite, metadata_for: Describe
) -> None:
    import flatbuffers  # noqa: PLC0415  # only here

    document = metadata_for("uint8").to_json().encode()
    model = tfl.ModelT.InitFromPackedBuf(make_tflite(metadata="placeholder"), 0)
    outside = model.buffers[model.metadata[0].buffer]
    outside.data, outside.offset, outside.size = None, 2**32, len(document)

    def packed() -> bytes:
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    outside.offset = len(packed())
    assert read_tflite_metadata(packed() + document) == metadata_for("uint8")
    with pytest.raises(ModelFileError, match="damaged"):
        read_tflite_metadata(packed() + document[:-1])


@settings(deadline=None, max_examples=400)
@given(
    edits=st.lists(st.tuples(st.integers(8, 10**6), st.integers(0, 255)), max_size=8),
    length=st.none() | st.integers(0, 10**6),
)
def test_a_mutated_file_is_read_or_refused_but_never_another_error(
    make_tflite: MakeTFLite,
    metadata_for: Describe,
    edits: list[tuple[int, int]],
    length: int | None,
) -> None:
    data = bytearray(make_tflite(metadata=metadata_for("uint8")))
    for place, value in edits:
        data[place % len(data)] = value
    mutated = bytes(data if length is None else data[: length % len(data)])
    for read in (read_tflite_metadata, check_structure):
        with contextlib.suppress(ModelFileError):
            read(mutated, Path("mutated.tflite"))


@settings(deadline=None, max_examples=100)
@given(rest=st.binary(max_size=200))
def test_arbitrary_bytes_behind_the_identifier_are_refused_or_empty(rest: bytes) -> None:
    with contextlib.suppress(ModelFileError):
        assert read_tflite_metadata(rest[:4].ljust(4, b"\0") + b"TFL3" + rest[4:]) is None


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_a_whole_file_passes_the_structure_check_and_no_shorter_one_does(
    make_tflite: MakeTFLite, metadata_for: Describe, dtype: str
) -> None:
    data = make_tflite(dtype, metadata=metadata_for(dtype))
    check_structure(data, Path("whole.tflite"))
    padding = len(data) - len(data.rstrip(b"\0"))
    for length in range(0, len(data) - padding, 7):
        with pytest.raises(ModelFileError, match="damaged"):
            check_structure(data[:length], Path("cut.tflite"))


def bad_file(kind: str, folder: Path, whole: bytes) -> Path:
    path = folder / f"{kind}.tflite"
    if kind == "folder":
        path.mkdir()
    elif kind != "missing":
        contents = {"empty": b"", "text": b"I am no model at all", "half": whole[: len(whole) // 2]}
        path.write_bytes(contents[kind])
    return path


BAD = {
    "missing": "no such file",
    "folder": "a folder, not a model file",
    "empty": "empty",
    "text": "not a TFLite file",
    "half": "damaged",
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_model_file_is_an_error_with_what_where_and_remedy(
    tmp_path: Path, int8_tflite: Path, kind: str
) -> None:
    path = bad_file(kind, tmp_path, int8_tflite.read_bytes())
    with pytest.raises(ModelFileError, match=BAD[kind]) as caught:
        Model(path)
    assert caught.value.where == str(path)
    assert caught.value.remedy
    assert caught.value.exit_code == 2


def test_a_bad_onnx_file_is_an_error_with_what_where_and_remedy(
    tmp_path: Path, float_onnx: Path
) -> None:
    whole = float_onnx.read_bytes()
    for content in (b"I am no model at all", whole[: len(whole) // 2]):
        path = tmp_path / "bad.onnx"
        path.write_bytes(content)
        with pytest.raises(ModelFileError, match=r"ONNX Runtime .* refuses it") as caught:
            Model(path)
        assert caught.value.where == str(path)
        assert caught.value.remedy


def test_a_checkpoint_is_refused_with_the_command_that_converts_it(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(b"PK\x03\x04")
    with pytest.raises(ModelFileError, match="a checkpoint") as caught:
        Model(path)
    assert caught.value.remedy == "convert it first: ghostedge convert weights.pth"


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"\xff\xd8\xff")
    with pytest.raises(ModelFileError, match=r"neither a \.tflite nor an \.onnx"):
        Model(path)


def test_a_tflite_file_is_known_by_its_content_whatever_its_name(
    tmp_path: Path, int8_tflite: Path
) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(int8_tflite.read_bytes())
    assert Model(path).metadata is not None


def test_no_cut_of_a_file_ends_the_process(tmp_path: Path, int8_tflite: Path) -> None:
    """In a child, so that a crash would be seen as one."""
    script = """
import sys
from pathlib import Path
from ghostedge_runtime import Model
from ghostedge_runtime.errors import ModelFileError
whole, path = Path(sys.argv[1]).read_bytes(), Path(sys.argv[2])
refused = 0
for part in range(1, 40):
    path.write_bytes(whole[: len(whole) * part // 40])
    try:
        Model(path)
    except ModelFileError:
        refused += 1
print(refused)
"""
    child = subprocess.run(
        [sys.executable, "-c", script, str(int8_tflite), str(tmp_path / "cut.tflite")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    assert child.stdout.split()[-1] == "39"
