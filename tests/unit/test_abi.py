# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""abi.py agrees with the header that the runtime is compiled from, in every offset, size and number."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils import abi

INCLUDE = Path(__file__).resolve().parents[2] / "native" / "include"


def header_text():
    text = (INCLUDE / "ulp" / "abi.h").read_text(encoding="utf-8")
    return re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)


def header_constants():
    """Every number that the header names, without the prefix ULP_."""
    text = header_text()
    names = re.findall(r"^#define ULP_(\w+)[ \t]+\S", text, re.MULTILINE)
    for body in re.findall(r"\benum \w+ \{(.*?)\}", text, re.DOTALL):
        names += re.findall(r"\bULP_(\w+)\s*=", body)
    return names


def header_structures():
    """{structure: [field]} of the header."""
    return {
        name: re.findall(r"(\w+)(?:\[[^;]*\])?;", body)
        for name, body in re.findall(r"^struct (\w+) \{(.*?)^\};", header_text(), re.DOTALL | re.MULTILINE)
    }


def ask_compiler(tmp_path, expressions):
    """{expression: value} as gcc sees it."""
    prints = "\n".join(
        f'printf("%llu\\n", (unsigned long long)({expression}));' for expression in expressions)
    source = tmp_path / "ask.c"
    source.write_text(
        f"#include <stdio.h>\n#include <stddef.h>\n#include <ulp/abi.h>\nint main(void) {{ {prints} return 0; }}\n",
        encoding="utf-8")
    program = tmp_path / "ask"
    subprocess.run(["gcc", "-I", str(INCLUDE), "-o", str(program), str(source)], check=True)
    output = subprocess.run([str(program)], check=True, stdout=subprocess.PIPE).stdout
    return dict(zip(expressions, map(int, output.split())))


def test_every_structure_has_the_same_layout(tmp_path):
    layouts = {layout.name: layout for layout in abi.LAYOUTS}
    structures = header_structures()
    assert sorted(layouts) == sorted(structures)
    expressions = []
    for name, fields in structures.items():
        assert list(layouts[name].offsets) == fields
        expressions.append(f"sizeof(struct {name})")
        for field in fields:
            expressions.append(f"offsetof(struct {name}, {field})")
            expressions.append(f"sizeof(((struct {name} *)0)->{field})")
    found = ask_compiler(tmp_path, expressions)
    for name, fields in structures.items():
        layout = layouts[name]
        assert found[f"sizeof(struct {name})"] == layout.size, name
        for field in fields:
            assert found[f"offsetof(struct {name}, {field})"] == layout.offsets[field], (name, field)
            assert found[f"sizeof(((struct {name} *)0)->{field})"] == layout.sizes[field], (name, field)


def test_every_constant_has_the_same_value(tmp_path):
    names = header_constants()
    assert len(names) > 50
    assert "STATE_MAGIC" in names and "NOT_APPLIED" in names
    found = ask_compiler(tmp_path, ["ULP_" + name for name in names])
    assert {name: getattr(abi, name) for name in names} == {name: found["ULP_" + name] for name in names}


def test_every_error_has_a_name_and_a_sentence():
    body = re.search(r"enum ulp_error \{(.*?)\}", header_text(), re.DOTALL).group(1)
    errors = {int(number): name for name, number in re.findall(r"ULP_(\w+)\s*=\s*(\d+)", body)}
    assert errors == abi.ERROR_NAMES
    assert sorted(abi.ERROR_SENTENCES) == sorted(errors)
    assert abi.error_sentence(99) == "the runtime reports error 99"
    assert [number for number in errors if abi.is_retryable(number)] == [
        abi.BUSY, abi.UNSAFE, abi.STALE_REQUEST, abi.NO_THREAD]


def state_block(**counts):
    values = dict.fromkeys(abi.STATE.offsets, 0)
    for field in ("runtime_version", "results", "domains", "libraries", "patches"):
        values[field] = b""
    values.update(counts)
    return bytearray(abi.STATE.pack(**values))


def test_a_state_block_is_decoded_up_to_its_counts():
    data = state_block(magic=abi.STATE_MAGIC, patch_count=2, library_count=1, runtime_version=b"1.2.3")
    patch = abi.PATCH.pack(
        id=b"\x11" * 32, applied_universe=3, reverted_universe=0, loaded_ns=5, text_start=6, text_end=7,
        status=abi.PATCH_APPLIED, domain=0, functions=2, name="gr\u00fcn".encode())
    start = abi.STATE.offsets["patches"] + abi.PATCH.size
    data[start:start + abi.PATCH.size] = patch
    state = abi.unpack_state(bytes(data))
    assert abi.text(state.header.runtime_version) == "1.2.3"
    assert (len(state.results), len(state.domains), len(state.libraries), len(state.patches)) == (abi.RESULTS, 0, 1, 2)
    assert state.patches[1].applied_universe == 3
    assert abi.text(state.patches[1].name) == "gr\u00fcn"


@pytest.mark.parametrize("count", ["domain_count", "library_count", "patch_count"])
def test_a_state_block_with_impossible_counts_is_refused(count):
    with pytest.raises(ValueError, match="has room for"):
        abi.unpack_state(state_block(**{count: 100000}))


def test_a_short_state_block_is_refused():
    with pytest.raises(ValueError, match="too few"):
        abi.unpack_state(state_block()[:-1])
