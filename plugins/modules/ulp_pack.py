#!/usr/bin/python
# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ulp_pack
short_description: Make a livepatch
version_added: 1.0.0
description:
  - Makes a livepatch from a patch library and the names of the functions that it replaces.
  - The module looks up all functions in the target libraries. It finds everything that stands in the way now, rather
    than when the livepatch is applied.
  - The same input gives the same bytes, and a livepatch that is the same already is left alone.
  - With O(signing_key) it also signs the livepatch.
author:
  - libpulp.livepatch contributors (@libpulp)
requirements:
  - openssh-client, for O(signing_key)
  - python3-capstone, for targets that were built without padding
extends_documentation_fragment:
  - libpulp.livepatch.attributes
  - libpulp.livepatch.attributes.changes
  - libpulp.livepatch.core
options:
  description:
    description:
      - A description file. Its first line is the absolute path of the patch library; a line with C(@) and the absolute
        path of a target library follows, then lines C(old:new) with the names of functions.
      - Further target libraries, each with its functions, may follow. Lines that begin with C(!) are comments.
        The CVE numbers and bug references in them become labels.
      - A line C(#name:word) fills the pointer C(word) of the patch library with the address of a variable or function
        of the target, even a static one; C(#%name:word) does so for thread-local variables.
      - A line C(guard NAME) names a guard; see O(guards).
      - A target can also be a program, the main executable of processes.
      - Targets need no padding. For functions that were compiled without it, the module finds the places where they can
        be diverted, or says why there are none.
    type: path
  livepatch:
    description: The absolute path of the patch library, instead of O(description).
    type: path
  target:
    description: The absolute path of the target library, instead of O(description).
    type: path
  functions:
    description:
      - The names of the functions to replace, each with the name of its replacement, instead of O(description).
    type: dict
  guards:
    description:
      - The names of functions of O(target) that are not replaced, but count as inside.
      - A thread that is in a guard uses old functions only, or new functions only, until it leaves it.
      - Only for targets that were built without padding. In O(description) they have lines of their own.
    type: list
    elements: str
    version_added: 1.1.0
  symbols:
    description:
      - Files with the symbol tables of stripped targets that were built without padding, to find static functions by.
      - Such a file is a debug file, the target before it was stripped, or the same code built again. A file for other
        code is refused.
      - Debug files below C(/usr/lib/debug/.build-id) are found without this option.
    type: list
    elements: path
    default: []
    version_added: 1.1.0
  dest:
    description:
      - The livepatch to write.
      - Without it, it is written beside O(description), or else beside O(livepatch), with the extension C(.ulp).
    type: path
  labels:
    description:
      - Anything else worth knowing about the livepatch, such as the CVE numbers that it fixes.
      - What the comments of O(description) mention is added under V(cve) and V(references).
    type: dict
  dependencies:
    description: The patch IDs of livepatches that must be applied before this one.
    type: list
    elements: str
    default: []
  replaces:
    description:
      - The livepatches whose place this one takes. Where it is applied, the others are reverted in the same moment, as
        far as they are applied to the same library.
      - Each is a patch ID, the name of a livepatch's file as C(ulp list) shows it, or a wildcard of names. V(*) stands
        for all.
    type: list
    elements: str
    default: []
    version_added: 1.1.0
  allow_duplicates:
    description:
      - The names of functions and variables that the patch library may define although a target also defines them, or
        patterns as in a shell.
      - A copy of a variable has a value of its own, and a copy of a function is not replaced when the target's is.
        Without this option, such copies are an error that names them.
      - Functions that the target does not export can't be called by name, so they may be copied; the module only warns
        of these.
    type: list
    elements: str
    default: []
  signing_key:
    description:
      - Sign the livepatch with this key and write the signature beside it, in a file with C(.sig) appended to its name.
      - It is a private key of C(ssh-keygen) without a passphrase, or a public key whose private half an agent holds.
      - A livepatch that is already signed with this key is left alone.
    type: path
seealso:
  - module: libpulp.livepatch.ulp_dump
  - module: libpulp.livepatch.ulp_dispatch
"""

EXAMPLES = r"""
- name: Pack a livepatch from a description file
  libpulp.livepatch.ulp_pack:
    description: /usr/local/src/fix/answer.dsc

- name: Pack a livepatch without a description file
  libpulp.livepatch.ulp_pack:
    livepatch: /usr/local/lib/livepatch/answer.so
    target: /usr/local/lib/libanswer.so.1
    functions:
      answer: answer_fixed
    dest: /usr/local/lib/livepatch/answer.ulp
    labels:
      cve:
        - CVE-2026-0001

- name: Pack a livepatch and sign it
  libpulp.livepatch.ulp_pack:
    description: /usr/local/src/fix/answer.dsc
    signing_key: /root/.ssh/livepatch_ed25519
"""

RETURN = r"""
path:
  description: The livepatch that was, or in check mode would be, written.
  returned: success
  type: str
  sample: /usr/local/lib/livepatch/answer.ulp
signature:
  description: The signature that was, or in check mode would be, written; null without O(signing_key).
  returned: success
  type: str
  sample: /usr/local/lib/livepatch/answer.ulp.sig
patch_id:
  description: The livepatch's ID, the SHA-256 over the patch library and the metadata, in hexadecimal.
  returned: success
  type: str
  sample: 96ce0551055a112bca9890780ec018c011f87c5a9d2ac285dcaee11b324f8f25
patch_build_id:
  description: The patch library's build ID in hexadecimal.
  returned: success
  type: str
  sample: 727548f884d544a31ddfa2639147d1b48d6d8e13
targets:
  description: The target libraries.
  returned: success
  type: list
  elements: dict
  contains:
    soname:
      description: The library's shared object name, or its file name if it has none.
      type: str
      sample: libanswer.so.1
    path:
      description: The library's path as it was given.
      type: str
      sample: /usr/local/lib/libanswer.so.1
    build_id:
      description: The library's build ID in hexadecimal.
      type: str
      sample: 8af5b4dba0e7ae0b8b1a6f2fd44cc63be7ef0a4b
    functions:
      description: The functions of this library that are replaced; each as in RV(functions).
      type: list
      elements: dict
    guards:
      description: The functions of this library that count as inside without being replaced.
      type: list
      elements: dict
functions:
  description: All functions that are replaced.
  returned: success
  type: list
  elements: dict
  contains:
    old:
      description: The function's name.
      type: str
      sample: answer
    new:
      description: The name of its replacement in the patch library.
      type: str
      sample: answer_fixed
    old_offset:
      description: The function's address in the target library, relative to the library's base.
      type: int
      sample: 4446
    old_size:
      description: The function's size in bytes.
      type: int
      sample: 11
    new_offset:
      description: The replacement's address in the patch library, relative to the library's base.
      type: int
      sample: 4345
    sites:
      description: The places where a function without padding can be diverted, the best first.
      type: list
      elements: dict
      sample: []
    old_digest:
      description: The SHA-256 of the bytes of a function without padding, in hexadecimal.
      type: str
      sample: ""
duplicates:
  description: The names that patch library and target both define, and that O(allow_duplicates) accepted.
  returned: success
  type: list
  elements: str
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.libpulp.livepatch.plugins.module_utils.ansible_module import run_module
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.description import (
    describe,
    parse_description,
)
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.pack import pack
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.signature import sign
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.target import pair_fields, target_fields


def pack_livepatch(module):
    """Make the livepatch that the module's parameters ask for; returns the module's result."""
    params = module.params
    if params["description"] is not None:
        description = parse_description(params["description"])
    else:
        description = describe(params["livepatch"], params["target"], params["functions"], params["guards"] or ())
    result = pack(
        description,
        destination=params["dest"],
        labels=params["labels"],
        dependencies=params["dependencies"],
        replaces=params["replaces"],
        allow_duplicates=params["allow_duplicates"],
        check=module.check_mode,
        symbols=params["symbols"],
    )
    signed = None
    if params["signing_key"]:
        # The very bytes that were packed, not what is at the path by now.
        signed = sign(result.path, params["signing_key"], data=result.data, check=module.check_mode)
    return {
        "changed": result.changed or (signed is not None and signed.changed),
        "path": result.path,
        "signature": signed.path if signed else None,
        "patch_id": result.patch_id,
        "patch_build_id": result.patch_build_id,
        "targets": [target_fields(target) for target in result.targets],
        "functions": [pair_fields(pair) for pair in result.functions],
        "duplicates": result.duplicates,
        "warnings": result.warnings,
        "diff": {"before": result.before, "after": result.after},
    }


def main():
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "description": {"type": "path"},
            "livepatch": {"type": "path"},
            "target": {"type": "path"},
            "functions": {"type": "dict"},
            "guards": {"type": "list", "elements": "str"},
            "symbols": {"type": "list", "elements": "path", "default": []},
            "dest": {"type": "path"},
            "labels": {"type": "dict"},
            "dependencies": {"type": "list", "elements": "str", "default": []},
            "replaces": {"type": "list", "elements": "str", "default": []},
            "allow_duplicates": {"type": "list", "elements": "str", "default": []},
            "signing_key": {"type": "path"},
        },
        required_one_of=[("description", "livepatch")],
        mutually_exclusive=[("description", "livepatch"), ("description", "target"), ("description", "functions"),
                            ("description", "guards")],
        required_together=[("livepatch", "target", "functions")],
        supports_check_mode=True,
    )
    run_module(module, pack_livepatch)


if __name__ == "__main__":
    main()
