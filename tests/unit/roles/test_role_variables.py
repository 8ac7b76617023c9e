# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which variables of a role are its options, and which are its own affair."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir())
# A name of a role's own that does not begin with two underscores; paths and file names have other characters before it.
NAME = re.compile(rf"(?<![\w./-])(?:{'|'.join(ROLES)})_[a-z_]+\b")


def options_of(role):
    text = (ROOT / "roles" / role / "meta" / "argument_specs.yml").read_text(encoding="utf-8")
    entry_points = yaml.safe_load(text)["argument_specs"].values()
    return {name for entry_point in entry_points for name in entry_point.get("options", {})}


def files_of(role):
    for folder in ("defaults", "handlers", "tasks", "templates", "vars"):
        yield from sorted((ROOT / "roles" / role / folder).glob("*"))


@pytest.mark.parametrize("role", ROLES)
def test_whatever_is_no_option_begins_with_two_underscores(role):
    """An inventory must not set it by mistake.  Seen to fail with 103 names."""
    options = set().union(*map(options_of, ROLES))
    found = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in files_of(role) for name in NAME.findall(path.read_text(encoding="utf-8")) if name not in options
    }
    assert not found


@pytest.mark.parametrize("role", ROLES)
def test_options_have_defaults_or_are_documented_to_have_none(role):
    """What defaults/ sets is an option, and what the documentation calls a default is set there."""
    defaults = yaml.safe_load((ROOT / "roles" / role / "defaults" / "main.yml").read_text(encoding="utf-8"))
    assert set(defaults) <= options_of(role)


def test_names_are_recognised():
    """Guards the pattern that the first test stands on."""
    text = "ulp_livepatch_a: x\nset: '{{ ulp_runtime_b }}'\n/run/ulp_livepatch_c __ulp_livepatch_d\n"
    assert NAME.findall(text) == ["ulp_livepatch_a", "ulp_runtime_b"]
