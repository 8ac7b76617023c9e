# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures that make real files for the unit tests."""

from __future__ import annotations

import subprocess

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils import faults

PADDING = ("-fpatchable-function-entry=16,14",)
LIBRARY = ("-O2", "-g", "-fPIC", "-shared", "-Wl,--build-id")


@pytest.fixture(name="compile_file")
def fixture_compile_file(tmp_path):
    """A function that compiles C (or C++, by ``suffix``) source text with the given flags and returns the file."""

    def compile_file(source, *flags, name="program", compiler="gcc", suffix=".c"):
        output = tmp_path / name
        text = tmp_path / (name + suffix)
        text.write_text(source, encoding="utf-8")
        subprocess.run([compiler, *flags, "-o", str(output), str(text)], check=True)
        return output

    return compile_file


@pytest.fixture(name="compile_library")
def fixture_compile_library(compile_file):
    """A function that compiles source text into a shared library with build ID and padding; ``padding=()``: without."""

    def compile_library(source, *flags, name="library.so", padding=PADDING, compiler="gcc", suffix=".c"):
        return compile_file(source, *LIBRARY, *padding, *flags, name=name, compiler=compiler, suffix=suffix)

    return compile_library


@pytest.fixture(autouse=True, name="faults_met")
def fixture_faults_met():
    """The tracebacks of exceptions that nobody expected; a test that makes some clears the list."""
    found = []
    before = list(faults.listeners)
    faults.listeners.append(found.append)
    yield found
    faults.listeners[:] = before
    if found:
        pytest.fail("an exception that nobody expected was caught: " + "; ".join(found))
