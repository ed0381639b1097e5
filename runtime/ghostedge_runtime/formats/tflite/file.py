"""Reading a flatbuffer that nobody has vouched for.

The ``flatbuffers`` package follows whatever offset it finds. Here every offset is checked against
the file's length before it is followed and every count is bounded by it, so that damage is an
error and never a wild read. What the fields mean is the caller's to know (`tflite_metadata`,
`tflite_structure`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from flatbuffers import encode
from flatbuffers import number_types as fb


class OutOfBoundsError(Exception):
    """An offset, a count or an index that leads out of the file."""


@dataclass(frozen=True)
class Table:
    """A flatbuffer table.

    Attributes:
        data: The whole file.
        position: Where the table starts.
        vtable: Where the list of its fields' places starts.
        fields: The bytes that list takes, its header of four included.
    """

    data: bytes
    position: int
    vtable: int
    fields: int

    @classmethod
    def root(cls, data: bytes) -> Table:
        """The table a file starts with."""
        return cls.at(data, _read(data, 0, fb.UOffsetTFlags))

    @classmethod
    def at(cls, data: bytes, position: int) -> Table:
        """The table at a place."""
        vtable = position - _read(data, position, fb.SOffsetTFlags)
        fields = _read(data, vtable, fb.VOffsetTFlags)
        check_bounds(data, vtable, fields)
        check_bounds(data, position, _read(data, vtable + 2, fb.VOffsetTFlags))
        return cls(data, position, vtable, fields)

    def number(self, field: int, kind: type) -> int:
        """A scalar; 0 where the file leaves the field out."""
        place = self._place(field)
        return 0 if place is None else _read(self.data, place, kind)

    def vector(self, field: int, *, width: int) -> tuple[int, int]:
        """Where a vector's elements of ``width`` bytes start, and how many there are."""
        target = self._target(field)
        if target is None:
            return 0, 0
        count = _read(self.data, target, fb.UOffsetTFlags)
        check_bounds(self.data, target + 4, count * width)
        return target + 4, count

    def table(self, field: int) -> Table | None:
        """A table that a field points to, if the file has it."""
        target = self._target(field)
        return None if target is None else Table.at(self.data, target)

    def tables(self, field: int) -> Iterator[Table]:
        """The tables of a vector of them."""
        start, count = self.vector(field, width=4)
        for place in range(start, start + 4 * count, 4):
            yield Table.at(self.data, place + _read(self.data, place, fb.UOffsetTFlags))

    def _place(self, field: int) -> int | None:
        entry = 4 + 2 * field
        if entry + 2 > self.fields:
            return None
        offset = _read(self.data, self.vtable + entry, fb.VOffsetTFlags)
        return self.position + offset if offset else None

    def _target(self, field: int) -> int | None:
        place = self._place(field)
        return None if place is None else place + _read(self.data, place, fb.UOffsetTFlags)


def check_bounds(data: bytes, start: int, size: int) -> None:
    """Refuse a span that does not lie in the file."""
    if start < 0 or start + size > len(data):
        raise OutOfBoundsError(f"{size} bytes expected at byte {start}")


def _read(data: bytes, place: int, kind: type) -> int:
    check_bounds(data, place, kind.bytewidth)  # type: ignore[attr-defined]  # untyped package
    return int(encode.Get(kind.packer_type, data, place))  # type: ignore[attr-defined]  # as above
