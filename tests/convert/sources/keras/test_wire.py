"""The messages between the processes."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ghostedge_convert.sources.keras.wire import receive, send


@settings(max_examples=50, deadline=None)
@given(
    head=st.dictionaries(st.sampled_from("abc"), st.integers() | st.text() | st.none()),
    sent=st.lists(arrays.arrays(np.float32, arrays.array_shapes(max_dims=4, max_side=3))),
)
def test_messages_arrive_as_they_were_sent(head, sent):
    stream = io.BytesIO()
    send(stream, head, sent)
    send(stream, {"next": True})
    stream.seek(0)
    frame = receive(stream)
    assert frame.head == head
    for mine, theirs in zip(frame.arrays, sent, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert receive(stream).head == {"next": True}
    assert receive(stream) is None


def test_a_message_that_breaks_off_is_an_error():
    stream = io.BytesIO()
    send(stream, {}, [np.zeros(9)])
    cut = io.BytesIO(stream.getvalue()[:-5])
    with pytest.raises(EOFError):
        receive(cut)


def test_an_array_of_python_objects_is_never_unpickled():
    stream = io.BytesIO()
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        send(stream, {}, [np.array([{}], dtype=object)])
