# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules ulp_build, ulp_post, ulp_pack, ulp_sign and ulp_dump, run by Ansible."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ansible = pytest.importorskip("ansible")


@pytest.fixture(name="play")
def fixture_play(tmp_path):
    """A function that runs tasks, given as {name: (module, arguments, task keywords)}; returns {name: result}."""

    def play(tasks):
        entries = []
        for name, (module, arguments, *keywords) in tasks.items():
            entries.append({
                f"libpulp.livepatch.{module}": arguments, "register": name, "ignore_errors": True,
                **(keywords[0] if keywords else {}),
            })
        results = ", ".join(f"'{name}': {name}" for name in tasks)
        entries.append({"ansible.builtin.copy": {
            "dest": str(tmp_path / "results.json"), "content": "{{ {" + results + "} | to_json }}", "mode": "0600"}})
        playbook = tmp_path / "playbook.json"
        playbook.write_text(json.dumps([{
            "hosts": "localhost", "gather_facts": False, "connection": "local",
            "vars": {"ansible_python_interpreter": sys.executable}, "tasks": entries}]), encoding="utf-8")
        command = Path(sys.executable).parent / "ansible-playbook"
        result = subprocess.run([str(command), "-i", "localhost,", str(playbook)], check=False, capture_output=True,
                                encoding="utf-8", env=dict(os.environ, ANSIBLE_HOME=str(tmp_path / "ansible")))
        assert result.returncode == 0, result.stdout + result.stderr
        return json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))

    return play


def test_a_library_becomes_a_livepatch_target_and_a_patch_is_packed(compile_library, play, tmp_path):
    target = compile_library("int f(int x) { return x; }\nint g(int x) { return x + 1; }", name="target.so")
    patch = compile_library("int new_f(int x) { return x + 40; }", name="patch.so", padding=())
    copying = compile_library("int g(int x) { return x + 1; }\nint new_f(int x) { return g(x); }", name="copying.so",
                              padding=())
    description = tmp_path / "fix.dsc"
    description.write_text(f"{patch}\n@{target}\nf:new_f\n", encoding="utf-8")
    original = target.read_bytes()
    parameters = {"livepatch": str(patch), "target": str(target), "functions": {"f": "new_f"},
                  "labels": {"cve": ["CVE-1"]}, "dest": str(tmp_path / "other.ulp")}
    results = play({
        "post_check": ("ulp_post", {"path": str(target)}, {"check_mode": True, "diff": True}),
        "post_elsewhere": ("ulp_post", {"path": str(target), "dest": str(tmp_path / "copy.so")}),
        "post": ("ulp_post", {"path": str(target), "backup": True}, {"diff": True}),
        "post_again": ("ulp_post", {"path": str(target)}, {"diff": True}),
        "post_missing": ("ulp_post", {"path": str(tmp_path / "missing.so")}),
        "post_text": ("ulp_post", {"path": str(description)}),
        "pack_check": ("ulp_pack", {"description": str(description)}, {"check_mode": True}),
        "pack": ("ulp_pack", {"description": str(description)}, {"diff": True}),
        "pack_again": ("ulp_pack", {"description": str(description)}),
        "pack_parameters": ("ulp_pack", parameters),
        "pack_both": ("ulp_pack", dict(parameters, description=str(description))),
        "pack_unknown": ("ulp_pack", dict(parameters, functions={"absent": "new_f"})),
        "pack_copy": ("ulp_pack", dict(parameters, livepatch=str(copying))),
        "pack_allowed": ("ulp_pack", dict(parameters, livepatch=str(copying), allow_duplicates=["g"]),
                         {"check_mode": True}),
        "dump": ("ulp_dump", {"path": str(tmp_path / "other.ulp")}),
        "dump_library": ("ulp_dump", {"path": str(target)}),
    })
    assert results["post_check"]["changed"] and results["post"]["changed"]
    assert results["post_check"]["diff"] == results["post"]["diff"]
    assert results["post"]["diff"]["before"] != results["post"]["diff"]["after"]
    assert (results["post"]["functions"], results["post"]["trampolines"]) == (2, 2)
    assert (results["post"]["untracked"], results["post"]["unwind_gaps"]) == ([], [])
    assert Path(results["post"]["backup_file"]).read_bytes() == original
    assert (tmp_path / "copy.so").read_bytes() == target.read_bytes() != original
    assert not results["post_again"]["changed"] and "backup_file" not in results["post_again"]
    assert results["post_missing"]["failed"]
    assert results["post_missing"]["msg"] == f"cannot read {tmp_path}/missing.so: No such file or directory"
    assert results["post_text"]["msg"] == f"{description} is not an ELF file"

    assert results["pack_check"]["changed"] and results["pack"]["changed"] and not results["pack_again"]["changed"]
    assert results["pack_check"]["patch_id"] == results["pack"]["patch_id"]
    assert results["pack"]["diff"]["before"] == "" and results["pack"]["patch_id"] in results["pack"]["diff"]["after"]
    assert results["pack"]["path"] == str(tmp_path / "fix.ulp")
    assert results["pack"]["targets"][0]["build_id"] == results["post"]["build_id"]
    assert results["pack"]["functions"] == results["pack"]["targets"][0]["functions"]
    assert results["pack_both"]["failed"] and "mutually exclusive" in results["pack_both"]["msg"]
    assert results["pack"]["duplicates"] == [] and results["pack_allowed"]["duplicates"] == ["g"]
    assert results["pack_copy"]["failed"] and "(g: new code would call" in results["pack_copy"]["msg"]
    assert results["pack_unknown"]["msg"] == f"{target} has no function absent"

    assert not results["dump"]["changed"]
    assert results["dump"]["patch_id"] == results["pack_parameters"]["patch_id"]
    assert results["dump"]["labels"] == {"cve": ["CVE-1"]}
    assert results["dump"]["targets"] == results["pack_parameters"]["targets"]
    assert "is not a livepatch" in results["dump_library"]["msg"]


def test_a_livepatch_is_built(play, tmp_path):
    """Check mode builds and writes nothing; a second run builds nothing; what is refused fails with the reason."""
    tree = tmp_path / "source"
    tree.mkdir()
    source = "static int state = 3;\nint f(int x) { return x + state++; }\n"
    (tree / "f.c").write_text(source, encoding="utf-8")
    for name, old, new in (("fix", "return x", "return 2 * x"), ("data", "state = 3", "state = 4")):
        (tmp_path / "new.c").write_text(source.replace(old, new), encoding="utf-8")
        diff = subprocess.run(["diff", "-u", "--label", "a/f.c", "--label", "b/f.c", tree / "f.c", tmp_path / "new.c"],
                              stdout=subprocess.PIPE, check=False).stdout
        (tmp_path / f"{name}.diff").write_bytes(diff)
    parameters = {
        "source": str(tree), "work": str(tmp_path / "work"), "dest": str(tmp_path / "out"), "proof": False,
        "as_root": True, "diffs": [str(tmp_path / "fix.diff")],
        "build": "gcc -O2 -fPIC -fpatchable-function-entry=16,14 -shared -Wl,--build-id -o libf.so f.c"}
    data = dict(parameters, diffs=[str(tmp_path / "data.diff")])
    results = play({
        "missing": ("ulp_build", dict(parameters, diffs=[])),
        "check": ("ulp_build", parameters, {"check_mode": True, "diff": True}),
        "built": ("ulp_build", parameters, {"diff": True}),
        "again": ("ulp_build", parameters, {"diff": True}),
        "again_check": ("ulp_build", parameters, {"check_mode": True}),
        "refused": ("ulp_build", data),
        "allowed": ("ulp_build", dict(data, allow=["initial-value:state"])),
    })
    assert results["missing"]["failed"]
    # What check mode had written would be in the difference.
    assert results["check"]["changed"]
    assert results["built"]["changed"] and results["built"]["diff"] == results["check"]["diff"]
    (target,) = results["built"]["targets"]
    assert target["path"] == str(tmp_path / "out" / "libf.so.ulp") and Path(target["path"]).exists()
    assert [function["name"] for function in target["functions"]] == ["f"]
    assert results["built"]["diff"]["before"] == "" and target["patch_id"] in results["built"]["diff"]["after"]
    for name in ("again", "again_check"):
        assert not results[name]["changed"]
    assert results["again"]["diff"]["before"] == results["again"]["diff"]["after"]
    assert results["refused"]["failed"] and "its initial value changes" in results["refused"]["msg"]
    assert [(each["kind"], each["name"]) for each in results["refused"]["refused"]] == [("initial value", "state")]
    # Allowed, and then there is nothing left to replace.
    assert "no function that the diff changes" in results["allowed"]["msg"]


def test_a_livepatch_is_packed_and_signed(compile_library, play, tmp_path):
    target = compile_library("int f(int x) { return x; }", name="target.so")
    patch = compile_library("int new_f(int x) { return x + 40; }", name="patch.so", padding=())
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    parameters = {"livepatch": str(patch), "target": str(target), "functions": {"f": "new_f"},
                  "dest": str(tmp_path / "fix.ulp")}
    signing = dict(parameters, signing_key=str(key))
    signature = tmp_path / "fix.ulp.sig"
    results = play({
        "check": ("ulp_pack", signing, {"check_mode": True}),
        "unsigned": ("ulp_pack", parameters),
        "check_signature": ("ulp_pack", signing, {"check_mode": True}),
        "signed": ("ulp_pack", signing),
        "again": ("ulp_pack", signing),
        "again_check": ("ulp_pack", signing, {"check_mode": True}),
        "no_key": ("ulp_pack", dict(parameters, signing_key=str(tmp_path / "nokey"))),
        "other": ("ulp_pack", dict(signing, labels={"cve": ["CVE-2"]})),
    })
    assert {name: result["changed"] for name, result in results.items()} == {
        "check": True, "unsigned": True, "check_signature": True, "signed": True, "again": False, "again_check": False,
        "no_key": False, "other": True}
    assert results["unsigned"]["signature"] is None
    assert results["signed"]["signature"] == results["check"]["signature"] == str(signature)
    assert str(tmp_path / "nokey") in results["no_key"]["msg"]
    # The last livepatch, too, is what was signed.
    with (tmp_path / "fix.ulp").open("rb") as stream:
        subprocess.run(["ssh-keygen", "-Y", "check-novalidate", "-n", "libpulp-livepatch", "-s", str(signature)],
                       stdin=stream, check=True, stdout=subprocess.DEVNULL)


def test_a_livepatch_is_packed_for_a_target_without_padding(compile_library, play, tmp_path):
    """Ansible sends what finds sites along, and the result has them."""
    source = """extern int puts(const char *);
    static int __attribute__((noinline)) hidden(int x) { return puts("x") + x; }
    int f(int x) { return hidden(x) * 2; }"""
    target = compile_library(source, name="target.so", padding=())
    unstripped = tmp_path / "unstripped.so"
    unstripped.write_bytes(target.read_bytes())
    subprocess.run(["strip", target], check=True)
    patch = compile_library("int new_one(int x) { return x + 40; }", name="patch.so", padding=())
    description = tmp_path / "fix.dsc"
    description.write_text(f"{patch}\n@{target}\nhidden:new_one\n", encoding="utf-8")
    parameters = {"livepatch": str(patch), "target": str(target), "functions": {"hidden": "new_one"}, "guards": ["f"]}
    results = play({
        "without_symbols": ("ulp_pack", parameters),
        "pack": ("ulp_pack", dict(parameters, symbols=[str(unstripped)])),
        "again": ("ulp_pack", dict(parameters, symbols=[str(unstripped)])),
        "both": ("ulp_pack", {"description": str(description), "guards": ["f"]}),
        "dump": ("ulp_dump", {"path": str(tmp_path / "patch.ulp")}),
    })
    assert "has no function hidden" in results["without_symbols"]["msg"]
    assert results["pack"]["changed"] and not results["again"]["changed"]
    assert results["pack"]["functions"][0]["sites"][0]["kind"] == "pun"
    assert [guard["name"] for guard in results["pack"]["targets"][0]["guards"]] == ["f"]
    assert results["dump"]["targets"] == results["pack"]["targets"] and results["dump"]["format_version"] == 2
    assert "mutually exclusive" in results["both"]["msg"]


def test_a_livepatch_is_signed_and_verified(compile_library, play, tmp_path):
    """What the module says it did is so: seen to fail, with ``changed`` true for ever, with ``before`` always None."""
    target = compile_library("int f(int x) { return x; }", name="target.so")
    patch = compile_library("int new_f(int x) { return x + 40; }", name="patch.so", padding=())
    key, other = tmp_path / "key", tmp_path / "other"
    for path in (key, other):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)], check=True)
    signers = tmp_path / "allowed_signers"
    signers.write_text(f"a@b {key.with_suffix('.pub').read_text(encoding='ascii')}", encoding="ascii")
    livepatch = tmp_path / "fix.ulp"
    signing = {"path": str(livepatch), "key": str(key)}
    verifying = {"path": str(livepatch), "state": "verified", "allowed_signers": str(signers)}
    results = play({
        "pack": ("ulp_pack", {"livepatch": str(patch), "target": str(target), "functions": {"f": "new_f"},
                              "dest": str(livepatch)}),
        "unsigned": ("ulp_sign", verifying),
        "check": ("ulp_sign", signing, {"check_mode": True, "diff": True}),
        "still_unsigned": ("ulp_sign", verifying),
        "signed": ("ulp_sign", signing, {"diff": True}),
        "again": ("ulp_sign", signing, {"diff": True}),
        "verified": ("ulp_sign", verifying, {"check_mode": True}),
        "by_another": ("ulp_sign", dict(verifying, identity="c@d")),
        "nobody": ("ulp_sign", dict(verifying, identity="")),
        "library": ("ulp_sign", dict(signing, path=str(target))),
        "no_key": ("ulp_sign", {"path": str(livepatch)}),
        "no_list": ("ulp_sign", {"path": str(livepatch), "state": "verified"}),
        "with_other": ("ulp_sign", dict(signing, key=str(other)), {"diff": True}),
        "not_allowed": ("ulp_sign", verifying),
    })
    assert {name for name, result in results.items() if result["changed"]} == {"pack", "check", "signed", "with_other"}
    assert {name for name, result in results.items() if result.get("failed")} == {
        "unsigned", "still_unsigned", "by_another", "nobody", "library", "no_key", "no_list", "not_allowed"}
    assert results["unsigned"]["msg"].startswith(f"{livepatch} is not signed")
    assert "is not a livepatch" in results["library"]["msg"] and not Path(f"{target}.sig").exists()
    assert results["check"]["diff"] == results["signed"]["diff"]
    assert results["signed"]["diff"]["before"] == "not signed\n"
    assert results["again"]["diff"]["before"] == results["again"]["diff"]["after"] == results["signed"]["diff"]["after"]
    assert results["with_other"]["diff"]["before"] == results["signed"]["diff"]["after"]
    assert (results["verified"]["identity"], results["verified"]["fingerprint"]) == (
        "a@b", results["signed"]["fingerprint"])
    assert results["signed"]["path"] == results["verified"]["path"] == f"{livepatch}.sig"
