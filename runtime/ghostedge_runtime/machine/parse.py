"""Numbers out of small system files; whatever is not a sound number is None, nothing raises."""

from __future__ import annotations

# More than any counter of the kernel's holds; beyond it, arithmetic with floats could overflow.
_LARGEST = 2**64


def whole(text: str | None) -> int | None:
    """A whole number, or None where the text is none."""
    try:
        number = int(text or "")
    except ValueError:  # other text, or thousands of digits
        return None
    return number if abs(number) < _LARGEST else None


def thousandth(text: str | None) -> float | None:
    """A whole number over a thousand: kHz as MHz, thousandths of a degree as degrees."""
    number = whole(text)
    return None if number is None else number / 1000
