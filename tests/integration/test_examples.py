# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The examples of the modules' documentation are run, in the order in which a reader would."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from importlib import import_module

import pytest
import yaml
from harness.library import run
from harness.modules import ANSIBLE_PLAYBOOK, TIMEOUT
from harness.paths import CHECKOUT, RUNTIME, TRM
from harness.variant import PADDING
from harness.victim import Victim

MODULES = "ansible_collections.libpulp.livepatch.plugins.modules"
# Where the examples have their files, and where nothing but them may be.
PLACES = re.compile(r"(?<![\w*])/(?=(usr/local|var/lib/libpulp|etc/libpulp|root|opt)/)")

LIBRARY = "int answer(void) { return 1; }\n"
PATCH = "int answer_fixed(void) { return 2; }\n"
PROGRAM = """
#include <stdio.h>
int answer(void);
int main(void)
{
    char line[16];
    puts("ready");
    for (fflush(stdout); fgets(line, sizeof line, stdin) && line[0] != 'q'; fflush(stdout))
        printf("%d\\n", answer());
    return 0;
}
"""


def examples(name, root):
    """The tasks of a module's EXAMPLES, with all paths below ``root``."""
    return yaml.safe_load(PLACES.sub(f"{root}/", import_module(f"{MODULES}.{name}").EXAMPLES))


def play(tasks, directory):
    """Run tasks as a playbook on this machine; what it printed."""
    playbook = directory / "examples.yml"
    playbook.write_text(yaml.safe_dump([{
        "hosts": "localhost", "connection": "local", "gather_facts": False,
        "vars": {"ansible_python_interpreter": sys.executable}, "tasks": tasks}]))
    done = subprocess.run(
        [ANSIBLE_PLAYBOOK, "-i", "localhost,", playbook], cwd=CHECKOUT, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=TIMEOUT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def root(tmp_path):
    """The files that the examples speak of."""
    tmp_path.chmod(0o755)
    for name in ("usr/local/src/answer", "usr/local/src/fix", "usr/local/lib/livepatch", "var/lib/libpulp/livepatches",
                 "etc/libpulp", "root/.ssh"):
        (tmp_path / name).mkdir(parents=True)
    for name, text in (("library", LIBRARY), ("patch", PATCH), ("program", PROGRAM)):
        (tmp_path / f"{name}.c").write_text(text)
    library = tmp_path / "usr/local/src/answer/libanswer.so.1"
    run(["gcc", "-O2", "-fPIC", "-shared", PADDING, "-Wl,--build-id", "-Wl,-soname,libanswer.so.1", "-o", library,
         tmp_path / "library.c", TRM])
    shutil.copyfile(library, tmp_path / "usr/local/lib/libanswer.so.1")
    patch = tmp_path / "usr/local/lib/livepatch/answer.so"
    run(["gcc", "-O2", "-fPIC", "-shared", "-Wl,--build-id", "-o", patch, tmp_path / "patch.c"])
    (tmp_path / "usr/local/src/fix/answer.dsc").write_text(
        f"{patch}\n@{tmp_path}/usr/local/lib/libanswer.so.1\nanswer:answer_fixed\n")
    key = tmp_path / "root/.ssh/livepatch_ed25519"
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key])
    (tmp_path / "etc/libpulp/allowed_signers").write_text(
        f"security@example.com {key.with_suffix('.pub').read_text()}")
    return tmp_path


def test_examples(root, tmp_path):
    """Guards that every example works as it stands: misspelt options, wrong types and missing files all show here.

    Seen to fail with a misspelt option in an example, and with ``until: check.aplied``.
    """
    names = ("ulp_post", "ulp_pack", "ulp_sign", "ulp_dump")
    output = play([task for name in names for task in examples(name, root)], tmp_path)
    assert "libanswer.so.1" in output
    signed = root / "usr/local/src/fix/answer.ulp"
    assert signed.exists() and (root / "usr/local/lib/livepatch/answer.ulp").exists()
    for suffix in ("", ".sig"):
        for name in ("cve-2026-0001", "cve-2026-0002"):
            shutil.copyfile(f"{signed}{suffix}", root / f"var/lib/libpulp/livepatches/{name}.ulp{suffix}")
    # For the one that copies a directory.
    (root / "root/livepatches/cve-2026-0001").mkdir(parents=True)
    shutil.copyfile(signed, root / "root/livepatches/cve-2026-0001/answer.ulp")
    program = root / "nginx"
    run(["gcc", "-O2", "-o", program, root / "program.c", root / "usr/local/lib/libanswer.so.1"])
    victim = Victim([program], libraries=[root / "usr/local/lib"], preload=[RUNTIME])
    try:
        *apply, revert, replace, revert_all = examples("ulp_dispatch", root)
        assert victim.ask("") == "1"
        output = play([*apply, *examples("ulp_check", root), *examples("ulp_facts", root)], tmp_path)
        # It was patched by one, and files were copied by another.
        assert re.search(r"ok=\d+ +changed=2 ", output), output
        assert victim.ask("") == "2"
        for task, answer in ((revert, "1"), (replace, "2"), (revert_all, "1")):
            output = play([task], tmp_path)
            assert re.search(r"ok=1 +changed=1 ", output), output
            assert victim.ask("") == answer
    finally:
        victim.finish()


@pytest.mark.parametrize("name", [
    "ulp_build", "ulp_post", "ulp_pack", "ulp_sign", "ulp_dump", "ulp_dispatch", "ulp_check", "ulp_facts",
])
def test_documented_defaults_and_types_are_the_real_ones(name):
    """Guards what ansible-doc shows, fragments included, against the module's own argument specification."""
    shown = json.loads(subprocess.run(
        [ANSIBLE_PLAYBOOK.with_name("ansible-doc"), "-t", "module", "-j", f"libpulp.livepatch.{name}"],
        cwd=CHECKOUT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT, check=True).stdout)
    doc = shown[f"libpulp.livepatch.{name}"]["doc"]
    assert set(doc["attributes"]) >= {"check_mode", "diff_mode", "platform"}
    assert all(attribute["support"] and attribute["description"] for attribute in doc["attributes"].values())
    assert "python3-pyelftools" in doc["requirements"]
    given = specification(name)
    assert set(doc["options"]) == set(given)
    for option, fields in given.items():
        documented = doc["options"][option]
        assert documented["description"]
        for field, missing in (("type", "str"), ("default", None), ("required", False), ("elements", None)):
            assert documented.get(field, missing) == fields.get(field, missing), (option, field)


def specification(name):
    """The argument specification of a module."""
    module = import_module(f"{MODULES}.{name}")
    given = {}

    class Stop(Exception):
        pass

    def record(argument_spec, **_rest):
        given.update(argument_spec)
        raise Stop

    original = module.AnsibleModule
    module.AnsibleModule = record
    try:
        with pytest.raises(Stop):
            module.main()
    finally:
        module.AnsibleModule = original
    return given
