# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What reads files: one target for each kind, a function of the bytes of one file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any, Callable, NamedTuple

from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch import hold, ledger
from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.bodies import bodies
from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.frames import FrameDescriptions
from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.image import ElfImage
from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.jumps import jumped_imports
from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.patchable import (
    is_post_processed,
    padding_addresses,
    patchable_functions,
)
from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.post import describe_exports, post_process
from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.slots import slots_of_own_functions
from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.unseen import unseen_entries
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.description import describe, parse_description
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.dump import metadata_fields
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.livepatch import (
    parse_livepatch,
    read_livepatch,
)
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.pack import pack
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.signature import signature_path, verify
from ansible_collections.libpulp.livepatch.plugins.module_utils.printable import printable
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.survey import survey
from ansible_collections.libpulp.livepatch.plugins.module_utils.stock.reliance import RegisterUse
from ansible_collections.libpulp.livepatch.plugins.module_utils.stock.sites import SiteFinder

from . import inputs
from .oracle import answer, require_printable

CORPUS = Path(__file__).resolve().parent.parent / "corpus"
# What is in the corpus under this name is sound: it must be accepted.
SOUND = "sound-"


class Sounds(list):
    """Inputs that are sound. Hypothesis shows them where it names a strategy, which would be long."""

    def __repr__(self):
        return f"<{len(self)} sound inputs>"


class Target(NamedTuple):
    """One thing to try."""

    name: str  # and the folder of the corpus
    check: Callable[[bytes], bool]  # whether the input was accepted; an exception when something does not hold
    strategy: Callable[[list[bytes]], Any]  # inputs, from those of the corpus that are sound
    cost: int = 1  # of one input, as a multiple of the cheapest one's

    close: Callable[[], None] = lambda: None  # when it is over

    def corpus(self) -> list[Path]:
        return sorted((CORPUS / self.name).glob("*"))

    def sound(self) -> Sounds:
        return Sounds(path.read_bytes() for path in self.corpus() if path.name.startswith(SOUND))


class Written:
    """A file, with the bytes ``data``, in a directory of its own that goes away."""

    def __init__(self, data, name):
        self.data, self.name = data, name

    def __enter__(self):
        self._directory = tempfile.TemporaryDirectory(prefix="ulp-fuzz-")
        path = Path(self._directory.name) / self.name
        path.write_bytes(self.data)
        return path

    def __exit__(self, *_error):
        self._directory.cleanup()


# ---------------------------------------------------------------------- ELF


def everything(image):
    """Whatever anybody asks of an ELF file, but for what needs the library's functions."""
    for question in (
        lambda: image.soname, lambda: image.needed, lambda: image.is_program, lambda: image.build_id,
        lambda: image.text_range, lambda: image.dynamic, lambda: list(image.symbols()),
        lambda: list(image.dynamic_symbols()), lambda: image.find_dynamic_symbol("ulp_state"),
        lambda: image.trm_descriptor, lambda: list(image.relocations()), lambda: dict(image.relative_addresses()),
        lambda: padding_addresses(image), lambda: is_post_processed(image), lambda: jumped_imports(image),
        lambda: slots_of_own_functions(image),
    ):
        answer(question, names=["library.so"])


def frames(image, addresses):
    """The unwind information at each of the ``addresses``, and at some others."""
    descriptions = answer(FrameDescriptions, image, names=["library.so"])
    if descriptions is not None:
        for address in (*addresses, 0, 1 << 63):
            answer(descriptions.at, address)


def sites(image):
    """Where functions can be diverted, and what their callers rely on, whatever the code is."""
    finder = SiteFinder(image, image.symbols() + image.dynamic_symbols())
    found = finder.find([extent.start for extent in finder.code.extents[:50]])
    use = RegisterUse(finder.code)
    for address in [address for address, each in found.items() if each.sites][:4]:
        use.reliance(address, use.changed(address))


def look_at_elf(data):
    with Written(data, "library.so") as path:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            found = survey(descriptor)
        finally:
            os.close(descriptor)
    if found is not None:
        require_printable([found.soname, found.build_id])
    image = answer(ElfImage.parse, data, "library.so", names=["library.so"])
    if image is None:
        return False
    everything(image)
    answer(sites, image, names=["library.so"])
    functions = answer(patchable_functions, image, names=["library.so"])
    frames(image, [function.address for function in functions or ()][:50])
    if functions is None:
        return False
    answer(unseen_entries, image, functions, names=["library.so"])
    for function in functions[:4]:
        answer(bodies, image, functions, frozenset((function.address,)))
    return found is not None and found.native


# --------------------------------------------------------------------- post

# Loads a library as a program would, constructors included: so only for those that we have made ourselves.
LOAD = "import ctypes, sys; ctypes.CDLL(sys.argv[1], ctypes.RTLD_GLOBAL)"


def post(data):
    """Refused, and the file is as it was; or post-processed, and to do it again changes nothing."""
    with Written(data, "library.so") as path:
        result = answer(post_process, path, names=["library.so"])
        after = path.read_bytes()
        if result is None:
            assert after == data
            return False
        assert result.changed == (after != data)
        require_printable(result.warnings)
        require_printable(describe_exports(after, path).splitlines())
        again = post_process(path)
        assert not again.changed and path.read_bytes() == after
        if data in POST.sound():
            subprocess.run([sys.executable, "-I", "-c", LOAD, path], check=True)
        return True


# --------------------------------------------------------------- livepatches


def livepatch(data):
    found = answer(parse_livepatch, data, "fix.ulp", names=["fix.ulp"])
    if found is None:
        return False
    require_printable(metadata_fields(found))
    # What is accepted is read alike from the file.
    with Written(data, "fix.ulp") as path:
        assert metadata_fields(read_livepatch(path)) == metadata_fields(found)
    return True


def packed(data):
    """A patch library, of which a livepatch is made that says what it was made from; twice it is the same one."""
    (target,) = [path for path in TARGET_LIBRARY.iterdir() if path.name.startswith(SOUND + "padded")]
    with Written(data, "patch.so") as path:
        description = describe(str(path), str(target), {"answer": "new_answer"})
        packing = partial(pack, labels={"ticket": "4711"})
        result = answer(packing, description, path.with_name("fix.ulp"), names=["patch.so"])
        if result is None:
            assert not path.with_name("fix.ulp").exists()
            return False
        require_printable([result.warnings, result.after.splitlines()])
        found = read_livepatch(result.path)
        assert found.labels == {"ticket": "4711"}
        assert [(pair.old, pair.new) for part in found.targets for pair in part.functions] == [("answer", "new_answer")]
        assert not packing(description, path.with_name("fix.ulp")).changed
        return True


def rendered(description):
    lines = [description.patch_library]
    for target in description.targets:
        lines += ["@" + target.path, *(f"{pair.old}:{pair.new}" for pair in target.functions),
                  *(f"guard {guard.name}" for guard in target.guards)]
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def meaning(description):
    return description.patch_library, [
        (target.path, [(pair.old, pair.new) for pair in target.functions], [guard.name for guard in target.guards])
        for target in description.targets
    ]


def described(data):
    """A description; one that is written from what was understood is understood alike."""
    with Written(data, "fix.dsc") as path:
        found = answer(parse_description, path, names=["fix.dsc"])
        if found is None:
            return False
        path.write_bytes(rendered(found))
        assert meaning(parse_description(path)) == meaning(found)
        return True


# ----------------------------------------------------------------- signatures

SIGNED = b"the bytes that were signed\n"
SEPARATOR = b"\n=====\n"


def signed(data):
    """An allowed-signers file, a separator, a signature of SIGNED. Who is let in is named in the former."""
    allowed, _separator, signature = data.partition(SEPARATOR)
    with Written(SIGNED, "fix.ulp") as path:
        Path(signature_path(path)).write_bytes(signature)
        signers = path.with_name("allowed_signers")
        signers.write_bytes(allowed)
        found = answer(verify, SIGNED, path, signers, names=[path.parent])
        if found is None:
            return False
        require_printable(list(found))
        assert found.identity and found.identity in printable(allowed.decode("utf-8", "replace"))
        assert answer(verify, SIGNED + b"x", path, signers, names=["fix.ulp"]) is None
        return True


# -------------------------------------------------------- holds and the ledger


def held(data):
    """A hold file, and the same as a list of retracted livepatches."""
    with Written(data, "hold") as path:
        rules = answer(hold.read_hold, path, names=["hold"])
        retracted = answer(hold.read_retracted, path, names=["hold"])
        if rules:
            require_printable([rule.text for rule in rules])
            livepatch = read_livepatch(TARGET_LIBRARY / (SOUND + "livepatch"))
            for rule in rules:
                rule.matches(os.getpid(), livepatch)
        if retracted:
            require_printable(retracted)
        return rules is not None or retracted is not None


def recorded(data):
    """A ledger that anything may have happened to: what can be read of it is read, and more can be added."""
    entry = {"pid": 1, "name": "x\x1b[2J"}
    with Written(data, "ledger.jsonl") as path:
        found = answer(ledger.read_last, path, 50, names=["ledger.jsonl"])
        json.dumps(found, allow_nan=False)
        assert len(found) <= 50
        ledger.append(path, [entry])
        assert ledger.read_last(path, 1) == [entry]
        assert path.stat().st_size <= ledger.LIMIT
        return bool(found)


RULE_WORDS = [b"name=", b"user=", b"unit=", b"container=", b"exe=", b"pid=", b"*", b"[", b"]", b"\n", b"#", b"!", b"\0",
              b"\x0b", b"\xc2\x85", b"=", b" "]
JSON_WORDS = [b"[", b"{", b'{"pid":', b"}", b"\n", b"1e999", b"NaN", b'"\\ud800"', b"\xff", b"9" * 50, b"null", b"\x0b"]
SIGNER_WORDS = [b"*", b"!", b",", b"cert-authority ", b'namespaces="x" ', b"\n", b"\0", b"ssh-ed25519", b"\x1b[2J",
                SEPARATOR, b"-----END SSH SIGNATURE-----", b"valid-before=\"20200101\" ", b"\""]
DESCRIPTION_WORDS = [b"/lib/a.so", b"@/lib/b.so", b"a:b", b"guard c", b":", b"\n", b"\r", b"\x0b", b"\xc2\x85", b"@",
                     b"#", b"!", b"\0", b"\xff", b"/", b" "]

TARGET_LIBRARY = CORPUS / "elf"
POST = Target("post", post, inputs.damaged_elf, cost=8)
TARGETS = (
    Target("elf", look_at_elf, inputs.damaged_elf, cost=8),
    POST,
    Target("livepatch", livepatch, inputs.damaged_elf, cost=3),
    Target("pack", packed, inputs.damaged_elf, cost=12),
    Target("description", described, lambda sounds: inputs.edited_text(sounds, DESCRIPTION_WORDS)),
    Target("signature", signed, lambda sounds: inputs.edited_text(sounds, SIGNER_WORDS), cost=12),
    Target("hold", held, lambda sounds: inputs.edited_text(sounds, RULE_WORDS)),
    Target("ledger", recorded, lambda sounds: inputs.edited_text(sounds, JSON_WORDS)),
)
