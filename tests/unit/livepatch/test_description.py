# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Description files: what is understood, and that every mistake is reported with file and line."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.libpulp.livepatch.plugins.module_utils.errors import BadDescription, FileProblem, UlpError
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.description import (
    describe,
    parse_description,
)


def parse(tmp_path, text):
    path = tmp_path / "patch.dsc"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return parse_description(path)


def test_a_description_with_two_targets_and_comments(tmp_path):
    description = parse(
        tmp_path, "! fixes two\n/lib/fix.so\n\n@/lib/one.so\n a : b \nc:d@V2\n!x:y\n@/lib/two.so\r\na:e")
    assert (description.patch_library, description.line) == ("/lib/fix.so", 2)
    assert [(target.path, target.line) for target in description.targets] == [("/lib/one.so", 4), ("/lib/two.so", 8)]
    assert [tuple(pair) for pair in description.targets[0].functions] == [("a", "b", 5), ("c", "d@V2", 6)]
    assert [tuple(pair) for pair in description.targets[1].functions] == [("a", "e", 9)]


@pytest.mark.parametrize(("text", "line", "message"), [
    ("", 1, "the path of the patch library is missing"),
    ("! nothing\n", 2, "the path of the patch library is missing"),
    ("fix.so\n@/lib/one.so\na:b\n", 1, "the path of the patch library must be absolute, not fix.so"),
    ("@/lib/one.so\na:b\n", 1, "the path of the patch library must come before the first @ or # line"),
    ("/lib/fix.so\n", 2, "the line with @ and the path of the target library is missing"),
    ("/lib/fix.so\na:b\n", 2, "a line with @ and the path of the target library must come before the pairs"),
    ("/lib/fix.so\n@one.so\na:b\n", 2, "the path of the target library after @ must be absolute, not one.so"),
    ("/lib/fix.so\n@\na:b\n", 2, "the path of the target library after @ is missing"),
    ("/lib/fix.so\n@/lib/one.so\n", 2, "no old:new pair follows for the target /lib/one.so"),
    ("/lib/fix.so\n@/lib/one.so\n@/lib/two.so\na:b\n", 2, "no old:new pair follows for the target /lib/one.so"),
    ("/lib/fix.so\n@/lib/one.so\na:b\n@/lib/one.so\na:b\n", 4, "the target /lib/one.so was already named in line 2"),
    ("/lib/fix.so\n@/lib/one.so\na:b\n\na:c\n", 5, "the function a was already replaced in line 3"),
    ("/lib/fix.so\n@/lib/one.so\na:b\n#l\n", 4, "expected #name:word"),
    ("/lib/fix.so\n@/lib/one.so\na:b\n#l:m:0x10\n", 4, "expected #name:word"),
    ("/lib/fix.so\n@/lib/one.so\na:b\n#%l:m:0x10:here\n", 4, "expected an address in hexadecimal, not here"),
    ("/lib/fix.so\n#l:m\n@/lib/one.so\na:b\n", 2, "a line with @ and the path of the target library must come"),
    ("# title\n/lib/fix.so\n", 1, "the path of the patch library must come before"),
    ("/lib/fix.so\n@/lib/one.so\nab\n", 3, "expected old:new, the names of two functions, not ab"),
    ("/lib/fix.so\n@/lib/one.so\na:\n", 3, "expected old:new"),
    ("/lib/fix.so\n@/lib/one.so\n:b\n", 3, "expected old:new"),
    ("/lib/fix.so\n@/lib/one.so\na:b:c\n", 3, "expected old:new"),
    ("/lib/fix.so\n@/lib/one.so\na b:c\n", 3, "expected old:new"),
    (b"\x7fELF\xff\xfe", 1, "this is not a description file"),
])
def test_mistakes_are_reported_with_file_and_line(tmp_path, text, line, message):
    with pytest.raises(BadDescription) as caught:
        parse(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path}/patch.dsc:{line}: {message}")


def test_lines_for_variables_and_functions_of_the_target(tmp_path):
    description = parse(
        tmp_path, b"/lib/fix.so\n@/lib/one.so\na:b\n#count:count_word\n# a.c/x : y :4010:0x0\n#%errors:ti:0:0\n")
    assert [tuple(reference) for reference in description.targets[0].references] == [
        ("count", "count_word", False, 0, 0, 4), ("a.c/x", "y", False, 0x4010, 0, 5), ("errors", "ti", True, 0, 0, 6)]


def test_a_missing_description_is_reported(tmp_path):
    with pytest.raises(FileProblem, match=r"cannot read .*/absent\.dsc: No such file"):
        parse_description(tmp_path / "absent.dsc")


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(
    st.sampled_from(["/lib/a.so", "@/lib/b.so", "@/lib/c.so", "a:b", "c:d", "", "!", "#x", "x", "a:b:c"]),
    st.text(max_size=10)), max_size=8))
def test_any_text_is_understood_or_refused(tmp_path, lines):
    try:
        description = parse(tmp_path, "\n".join(lines).encode("utf-8", "surrogatepass"))
    except UlpError as error:
        assert str(error).startswith(f"{tmp_path}/patch.dsc:")
    else:
        assert description.patch_library.startswith("/")
        assert all(target.path.startswith("/") and target.functions for target in description.targets)


def test_parameters_can_stand_for_a_file():
    description = describe("/lib/fix.so", "/lib/one.so", {"a": "b", "c": "d"})
    assert [tuple(pair)[:2] for pair in description.targets[0].functions] == [("a", "b"), ("c", "d")]
    assert description.where(0) == ""
    for parameters, message in (
        (("fix.so", "/lib/one.so", {"a": "b"}), "the path of the patch library must be absolute, not fix.so"),
        (("/lib/fix.so", "one.so", {"a": "b"}), "the path of the target library must be absolute, not one.so"),
        (("/lib/fix.so", "/lib/one.so", {}), "no function of /lib/one.so is to be replaced"),
        (("/lib/fix.so", "/lib/one.so", {"a": "b c"}), "expected old:new"),
    ):
        with pytest.raises(BadDescription) as caught:
            describe(*parameters)
        assert str(caught.value).startswith(message)
