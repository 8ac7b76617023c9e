# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sites and guards in a livepatch: format 2, written where it is needed, and read with suspicion."""

from __future__ import annotations

import hashlib
import json
import subprocess

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.command.report import dump_lines
from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.image import ElfImage
from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.section import append_section
from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.site import Gap, Site
from ansible_collections.libpulp.livepatch.plugins.module_utils.errors import BadLivepatch
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.dump import metadata_fields
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.livepatch import (
    make_livepatch,
    parse_livepatch,
)
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.metadata import canonical_json
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.site import decode_site, site_fields
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.target import FunctionPair, Guard, Target

PUN = Site("pun", 0x1000, 1, b"\x55\x48\x89\xe5\x53", "plain", 0, 8, 16)
WIDE = Site("wide", 0x1001, 7, b"\x48\x8b\x05\x01\x02\x03\x00", "rip_relative", 3, 16, 16)
SAVED = Site("wide", 0x1002, 3, b"\x48\x89\xfb\x01\x02", "plain", 0, 16, 16, overwrites="rbx")
SHORT = Site("short", 0x1008, 2, b"\xeb\x10", "jump", 1, 16, 16, Gap(0x1055, b"\x66\x90\x66\x90\x90"))
GUARD = Guard("main", 0x1080, 40, (PUN._replace(offset=0x1084),), "cd" * 32)


@pytest.fixture(scope="module", name="image")
def fixture_image(tmp_path_factory):
    directory = tmp_path_factory.mktemp("sites")
    (directory / "patch.c").write_text("int g(int x) { return x + 1; }", encoding="utf-8")
    subprocess.run(["gcc", "-O2", "-fPIC", "-shared", "-Wl,--build-id", "-o", directory / "patch.so",
                    directory / "patch.c"], check=True)
    return ElfImage.open(directory / "patch.so")


def targets(image, sites=(PUN, WIDE, SHORT), guards=(GUARD,)):
    (new,) = [symbol.value for symbol in image.dynamic_symbols() if symbol.name == "g"]
    pair = FunctionPair("f", "g", 0x1000, 80, new, sites, "ab" * 32 if sites else "")
    return [Target("libf.so.1", "/lib/libf.so.1", "ef" * 20, [pair], guards)]


def metadata_of(data):
    image = ElfImage.parse(data, "fix.ulp")
    return json.loads(image.section_data(image.section(".ulp")))


def test_what_is_written_is_read(image):
    data, _patch_id = make_livepatch(image, targets(image))
    found = parse_livepatch(data, "fix.ulp")
    assert found.format_version == 2
    assert found.targets == targets(image)
    lines = dump_lines(dict(metadata_fields(found), path="fix.ulp"))
    assert "    f is replaced by g, diverted by pun at 0x1000 or wide at 0x1001 or short at 0x1008" in lines
    assert "    main is a guard, diverted by pun at 0x1084" in lines


def test_what_needs_nothing_of_format_2_is_of_format_1(image):
    """The members are those that a reader of format 1 demands, and no other."""
    metadata = metadata_of(make_livepatch(image, targets(image, sites=(), guards=()))[0])
    assert metadata["format_version"] == 1
    assert set(metadata["targets"][0]) == {"soname", "path", "build_id", "functions"}
    assert set(metadata["targets"][0]["functions"][0]) == {"old", "new", "old_offset", "old_size", "new_offset"}


@pytest.mark.parametrize("site", [PUN, WIDE, SHORT, SAVED])
def test_a_site_survives_json(site):
    assert decode_site(json.loads(canonical_json(site_fields(site)))) == site


@pytest.mark.parametrize(("site", "message"), [
    (PUN._replace(kind="long"), "its kind is none of pun, wide, short"),
    (PUN._replace(kind=["pun"]), "its kind is none of"),
    (PUN._replace(gap=SHORT.gap), "it should have exactly the keys"),
    (SHORT._replace(gap=None), "it should have exactly the keys"),
    (PUN._replace(offset=-1), "its offset is out of range"),
    (PUN._replace(offset=True), "its offset is not a whole number"),
    (PUN._replace(offset=1 << 40), "its offset is out of range"),
    (PUN._replace(length=0), "no instruction is as long"),
    (PUN._replace(length=16, original=bytes(16)), "no instruction is as long"),
    (PUN._replace(original=b"\x55"), "too few or too many"),
    (PUN._replace(original=bytes(6)), "too few or too many"),
    (SHORT._replace(original=b"\xeb\x10\x00"), "too few or too many"),
    (PUN._replace(cfa_before=0), "frame address is out of range"),
    (PUN._replace(cfa_after=1 << 40), "frame address is out of range"),
    (PUN._replace(cfa_after=20), "frame address is not aligned"),
    (PUN._replace(instruction="call"), "its instruction is none of"),
    (PUN._replace(instruction=["plain"]), "its instruction is none of"),
    (PUN._replace(displacement=1), "a plain instruction has no displacement"),
    (WIDE._replace(displacement=4), "does not lie in the instruction"),
    (WIDE._replace(displacement=0), "does not lie in the instruction"),
    (SHORT._replace(original=b"\x74\x10"), "its instruction is not a jump"),
    (SHORT._replace(displacement=0), "its instruction is not a jump"),
    (WIDE._replace(offset=0x1004), "crosses an aligned word"),
    (SHORT._replace(offset=0x100f), "crosses an aligned word"),
    (PUN._replace(kind="wide"), "a single byte"),
    (SAVED._replace(overwrites="rax"), "it overwrites no register of the caller's"),
    (SAVED._replace(overwrites=["rbx"]), "it overwrites no register of the caller's"),
    (SAVED._replace(cfa_before=8), "cannot overwrite what a push before it has saved"),
    (SHORT._replace(overwrites="rbx"), "cannot overwrite what a push before it has saved"),
    (SHORT._replace(gap=Gap(0x1200, SHORT.gap.original)), "its gap is out of reach"),
    (SHORT._replace(gap=Gap(-1, SHORT.gap.original)), "its gap is out of range"),
    (SHORT._replace(gap=Gap(0x1055, b"\x90")), "its gap is out of range"),
])
def test_a_site_that_does_not_fit_together_is_refused(site, message):
    fields = dict(site._asdict(), original=site.original.hex())
    if not site.overwrites:
        del fields["overwrites"]
    if site.gap is None:
        del fields["gap"]
    else:
        fields["gap"] = {"offset": site.gap.offset, "original": site.gap.original.hex()}
    with pytest.raises(ValueError, match=message):
        decode_site(fields)


@pytest.mark.parametrize("original", [None, 5, "5", "zz", "55 48 89 e5 53", "554889E553"])
def test_bytes_have_one_spelling(original):
    with pytest.raises(ValueError, match="not in hexadecimal"):
        decode_site(dict(site_fields(PUN), original=original))


@pytest.mark.parametrize("value", [None, [], "pun", {}, {"kind": {}}])
def test_what_is_no_site_is_refused(value):
    with pytest.raises(ValueError, match="kind"):
        decode_site(value)


def forge(image, change):
    """A livepatch with other metadata and a patch ID that is right for them."""
    metadata = metadata_of(make_livepatch(image, targets(image))[0])
    change(metadata["targets"][0], metadata)
    metadata["patch_id"] = "0" * 64
    patch_id = hashlib.sha256(append_section(image, ".ulp", canonical_json(metadata))).hexdigest()
    return append_section(image, ".ulp", canonical_json(dict(metadata, patch_id=patch_id)))


def with_function(**members):
    return lambda target, _metadata: target["functions"][0].update(members)


def with_guard(**members):
    return lambda target, _metadata: target["guards"][0].update(members)


def without_anything_new(target, _metadata):
    for key in ("sites", "old_digest"):
        del target["functions"][0][key]
    del target["guards"]


def test_an_honest_forgery_is_read(image):
    assert parse_livepatch(forge(image, lambda *_parts: None), "fix.ulp").targets == targets(image)


@pytest.mark.parametrize(("change", "message"), [
    (lambda _target, metadata: metadata.update(format_version=4), "has livepatch format 4, but .* formats 1 to 3"),
    (lambda _target, metadata: metadata.update(format_version=1), "should have exactly the keys"),
    (without_anything_new, "it has format 2, but nothing of that format"),
    (with_function(sites=[]), "sites of a function is empty"),
    (with_function(sites={}), "sites of a function is of the wrong type"),
    (with_function(sites=[site_fields(PUN)] * 65), "has 65 sites, and may have 64"),
    (with_function(sites=[{}]), "a site of the function f is wrong: its kind"),
    (with_function(old_size=1), "lies outside of the function"),
    (with_function(old_offset=0x1001), "lies outside of the function"),
    (with_function(old_digest=""), "old_digest of a function is empty"),
    (with_function(old_digest="xy"), "the digest of the function f is malformed"),
    (lambda target, _metadata: target["functions"][0].pop("old_digest"), "has sites, but no digest"),
    (lambda target, _metadata: target["functions"].append(
        {"old": "h", "new": "g", "old_offset": 0x2000, "old_size": 9,
         "new_offset": target["functions"][0]["new_offset"]}), "only some functions of libf.so.1 have sites"),
    (with_guard(sites=[]), "the function main has 0 sites"),
    (with_guard(offset=0x1000, size=0x90), "the guards of libf.so.1 are not in order"),
    (with_guard(offset=0x1030, size=0x80), "functions or gaps of libf.so.1 overlap"),
    (with_guard(offset=0x1059, size=0x80), "functions or gaps of libf.so.1 overlap"),
    (with_guard(extra=1), "a guard should have exactly the keys"),
    (lambda target, _metadata: target.update(guards=[]), "guards of a target is empty"),
    (lambda target, _metadata: target.update(guards=target["guards"] * 2), "the guards of libf.so.1 are not in order"),
])
def test_malformed_sites_and_guards_are_refused(image, change, message):
    with pytest.raises(BadLivepatch, match=message):
        parse_livepatch(forge(image, change), "fix.ulp")
