"""What ``--device`` takes, and what it must never pass on to ssh or a shell."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostedge.devices import LOCAL, Device, parse_device
from ghostedge_runtime.errors import InputError


@pytest.mark.parametrize(
    ("text", "device", "destination"),
    [
        ("ssh://pi4", ("pi4", None, None, "python3"), "pi4"),
        ("ssh://Lab_Pi", ("Lab_Pi", None, None, "python3"), "Lab_Pi"),
        (
            "ssh://pi@raspberrypi.local",
            ("raspberrypi.local", "pi", None, "python3"),
            "pi@raspberrypi.local",
        ),
        ("ssh://pi@10.0.0.7:2222", ("10.0.0.7", "pi", 2222, "python3"), "-p 2222 pi@10.0.0.7"),
        ("ssh://[fe80::1%25eth0]:22/", ("fe80::1%eth0", None, 22, "python3"), "-p 22 fe80::1%eth0"),
        (
            "ssh://pi@h?python=/opt/my%20py/bin/python3",
            ("h", "pi", None, "/opt/my py/bin/python3"),
            "pi@h",
        ),
        ("ssh://h?python=~/env/bin/python", ("h", None, None, "./env/bin/python"), "h"),
    ],
)
def test_a_device_is_a_word(text: str, device: tuple[object, ...], destination: str) -> None:
    found = parse_device(text)
    assert (found.host, found.user, found.port, found.python) == device
    assert (found.name, found.destination) == (text, destination)


def test_local_is_this_machine() -> None:
    assert parse_device(" local ") == LOCAL == Device("local")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("raspberrypi", "neither local nor ssh://"),
        ("http://pi", "neither local nor ssh://"),
        ("ssh://", "'' is no host name"),
        ("ssh://pi:raspberry@host", "a password has no place on a command line"),
        ("ssh://-oProxyCommand=reboot", "'-oProxyCommand=reboot' is no host name"),
        ("ssh://a;reboot", "'a;reboot' is no host name"),
        ("ssh://$(reboot)@h", "is no user name"),
        ("ssh://-l@h", "'-l' is no user name"),
        ("ssh://h:99999", "Port out of range"),
        ("ssh://h:x", "Port could not be cast"),
        ("ssh://h/bin", "nothing may follow the host"),
        ("ssh://h?key=x", "the only option is"),
        ("ssh://h?python=", "the only option is"),
        ("ssh://h?python=-c", "'-c' is no path of a Python"),
        ("ssh://h?python=a%0Ab", "the only option is"),
    ],
)
def test_what_is_no_device_is_refused_with_examples(text: str, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)) as caught:
        parse_device(text)
    assert caught.value.where == text
    assert "ssh://pi@raspberrypi.local" in str(caught.value.remedy)


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("ab1.-_@:/?%[]$;|&'\"` \n=~python"), max_size=30))
def test_no_text_gives_a_host_or_user_that_could_be_read_as_anything_else(text: str) -> None:
    try:
        found = parse_device("ssh://" + text)
    except InputError:
        return
    words = [found.host or "", found.user or "x"]
    assert all(re.fullmatch(r"[A-Za-z0-9_:.][A-Za-z0-9._:@+%-]*", word) for word in words)
    assert not found.python.startswith("-")
