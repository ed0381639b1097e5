"""Whom we connect to: never to a key that is unknown or another than before."""

from __future__ import annotations

from typing import Any

import pytest

from ghostedge.devices import DevicesFailedError, Limits, run_on
from ghostedge_runtime.record import BenchJob


def refusal(there: Any, job: BenchJob, listener: Any, limits: Limits) -> str:
    with pytest.raises(DevicesFailedError) as caught:
        run_on([there.word], job, listener, limits)
    assert caught.value.exit_code == 2
    assert not there.cache.exists()  # nothing was put there
    (error,) = caught.value.failures.values()
    assert error.where == there.word
    return str(error)


def test_an_unknown_host_key_is_refused(
    there: Any, quick: BenchJob, short: Limits, listener: Any
) -> None:
    there.sshd.known_hosts.unlink()
    said = refusal(there, quick, listener, short)
    assert "its host key is not known to this machine" in said
    assert f"connect once by `ssh -p {there.sshd.port} 127.0.0.1`" in said
    assert not there.sshd.known_hosts.exists()  # and it was not learnt on the way


def test_a_changed_host_key_is_refused(
    there: Any, quick: BenchJob, short: Limits, listener: Any
) -> None:
    there.sshd.know(there.sshd.make_key("other"))
    said = refusal(there, quick, listener, short)
    assert "its host key is another than the one this machine knows" in said
    assert f"ssh-keygen -R '[127.0.0.1]:{there.sshd.port}'" in said


def test_a_machine_that_takes_none_of_our_keys_says_so(
    there: Any, quick: BenchJob, short: Limits, listener: Any
) -> None:
    there.sshd.make_key("user")  # another one than when sshd read it
    (there.sshd.folder / "user.pub").write_text("")
    said = refusal(there, quick, listener, short)
    assert "it takes no key of this machine" in said
    assert f"ssh-copy-id -p {there.sshd.port} 127.0.0.1" in said
