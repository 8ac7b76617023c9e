# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The corpus of `make fuzz`: what is sound is accepted, and what has failed once is tried for ever."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "fuzz"))

from fuzzing import run
from fuzzing.files import SOUND, Target
from fuzzing.files import TARGETS as OF_FILES
from fuzzing.oracle import TooLong, answer, bounded, require_printable
from fuzzing.procfs import TARGETS as OF_PROC
from hypothesis import strategies as st

from ansible_collections.libpulp.livepatch.plugins.module_utils.errors import UlpError

TARGETS = (*OF_FILES, *OF_PROC)
CASES = [(target, path) for target in TARGETS for path in target.corpus()]


@pytest.mark.parametrize(("target", "path"), CASES, ids=[f"{target.name}-{path.name}" for target, path in CASES])
def test_corpus(target, path):
    with bounded():
        accepted = target.check(path.read_bytes())
    if path.name.startswith(SOUND):
        assert accepted


@pytest.mark.parametrize("target", TARGETS, ids=[target.name for target in TARGETS])
def test_inputs_are_made_from_something_sound(target):
    assert target.sound()


def test_a_failure_is_found_made_small_and_kept(tmp_path, monkeypatch, capsys):
    """Guards the whole against a run that tries nothing, or tells nobody."""

    def check(data):
        assert b"!" not in data
        return True

    monkeypatch.setattr(run, "FAILURES", tmp_path)
    monkeypatch.setattr(Target, "sound", lambda _target: [])
    wrong = Target("wrong", check, lambda _sounds: st.binary())
    assert not run.run(wrong, 2000, None)
    (kept,) = (tmp_path / "wrong").iterdir()
    assert kept.read_bytes() == b"!"
    assert str(kept) in capsys.readouterr().err


def test_the_oracle_can_say_no():
    def loop():
        while True:
            pass

    def fail():
        raise KeyError("not one of ours")

    def refuse():
        raise UlpError("a\x1b[2Jb is damaged")

    with pytest.raises(TooLong), bounded(0.05):
        loop()
    with pytest.raises(KeyError):
        answer(fail)
    assert answer(refuse, names=["damaged"]) is None
    with pytest.raises(AssertionError):
        answer(refuse, names=["fix.ulp"])
    for value in (["\x1b"], {"\x07": 1}, {"a": [("\n",)]}):
        with pytest.raises(AssertionError):
            require_printable(value)
    with pytest.raises(ValueError):
        require_printable([float("nan")])
