#!/usr/bin/python
# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ulp_dump
short_description: Show what is in a livepatch
version_added: 1.0.0
description:
  - Reads a livepatch, checks that it is intact, and returns its metadata.
author:
  - libpulp.livepatch contributors (@libpulp)
extends_documentation_fragment:
  - libpulp.livepatch.attributes
  - libpulp.livepatch.attributes.looks
  - libpulp.livepatch.core
options:
  path:
    description: The livepatch.
    type: path
    required: true
seealso:
  - module: libpulp.livepatch.ulp_pack
"""

EXAMPLES = r"""
- name: Read a livepatch
  libpulp.livepatch.ulp_dump:
    path: /usr/local/lib/livepatch/answer.ulp
  register: answer

- name: Show which libraries it is for
  ansible.builtin.debug:
    msg: "{{ answer.targets | map(attribute='soname') }}"
"""

RETURN = r"""
path:
  description: The livepatch.
  returned: success
  type: str
  sample: /usr/local/lib/livepatch/answer.ulp
format_version:
  description: The version of the livepatch's format.
  returned: success
  type: int
  sample: 1
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
      description: The library's path when the livepatch was packed.
      type: str
      sample: /usr/local/lib/libanswer.so.1
    build_id:
      description: The library's build ID in hexadecimal.
      type: str
      sample: 8af5b4dba0e7ae0b8b1a6f2fd44cc63be7ef0a4b
    functions:
      description: The functions of this library that are replaced.
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
          contains:
            kind:
              description: How it is diverted there, V(pun), V(wide) or V(short).
              type: str
              sample: pun
            offset:
              description: The address of the instruction that is changed, relative to the library's base.
              type: int
              sample: 4446
            length:
              description: The instruction's length in bytes.
              type: int
              sample: 1
            original:
              description: The bytes that are there before, in hexadecimal.
              type: str
              sample: 554889e553
        old_digest:
          description: The SHA-256 of the bytes of a function without padding, in hexadecimal.
          type: str
          sample: ""
    guards:
      description: The functions of this library that count as inside without being replaced.
      type: list
      elements: dict
      contains:
        name:
          description: The function's name.
          type: str
          sample: handle
        offset:
          description: The function's address in the target library, relative to the library's base.
          type: int
          sample: 4480
        size:
          description: The function's size in bytes.
          type: int
          sample: 96
        sites:
          description: As those of a function.
          type: list
          elements: dict
        digest:
          description: The SHA-256 of the function's bytes, in hexadecimal.
          type: str
          sample: ""
    variables:
      description:
        - The variables that the livepatch brings along.
        - Each has C(name), C(address) in the patch library, C(size) in bytes, C(type), a digest or empty, C(words),
          through which the code reaches it, C(obstacle), the reason why it cannot go on with one of an earlier
          livepatch, and C(start), which is V(anew) if it should not.
      type: list
      elements: dict
dependencies:
  description: The patch IDs of livepatches that must be applied before this one.
  returned: success
  type: list
  elements: str
  sample: []
replaces:
  description: The livepatches whose place this one takes, by patch ID, name, or wildcard of names.
  returned: success
  type: list
  elements: str
  sample: []
  version_added: 1.1.0
labels:
  description: Anything else that was stored with the livepatch.
  returned: success
  type: dict
  sample:
    cve:
      - CVE-2026-0001
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.libpulp.livepatch.plugins.module_utils.ansible_module import run_module
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch.dump import dump


def dump_livepatch(module):
    """Read the livepatch that the module's parameters name; returns the module's result."""
    return dict(dump(module.params["path"]), changed=False)


def main():
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={"path": {"type": "path", "required": True}},
        supports_check_mode=True,
    )
    run_module(module, dump_livepatch)


if __name__ == "__main__":
    main()
