#!/usr/bin/python
# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ulp_post
short_description: Make a shared library livepatchable
version_added: 1.0.0
description:
  - Post-processes a shared library that was compiled with C(-fpatchable-function-entry=16,14) and linked with a build
    ID.
  - Every exported function is then entered through a trampoline before it, which the runtime uses to keep threads
    consistent while a livepatch is applied.
  - The file is replaced as a whole. A library that was post-processed before is left unchanged.
  - A library that has anything that cannot be handled is refused, and the message names all functions concerned.
author:
  - libpulp.livepatch contributors (@libpulp)
extends_documentation_fragment:
  - libpulp.livepatch.attributes
  - libpulp.livepatch.attributes.changes
  - libpulp.livepatch.core
options:
  path:
    description:
      - The library.
      - If it is a symbolic link, the link stays and the file that it leads to is replaced.
    type: path
    required: true
  dest:
    description:
      - Where to write the result. The library at O(path) is then left alone.
      - An existing file is replaced and keeps its mode and owner. A new file gets the permissions of O(path).
      - Without it the library at O(path) itself is replaced.
    type: path
  backup:
    description: Whether to keep a copy of the file that is replaced.
    type: bool
    default: false
  allow_untracked:
    description:
      - Whether to accept exported functions that were compiled without padding, such as those written in assembly.
      - A thread that enters the library through such a function goes on with the function versions that it used last.
    type: bool
    default: false
seealso:
  - module: libpulp.livepatch.ulp_pack
"""

EXAMPLES = r"""
- name: Make a library livepatchable
  libpulp.livepatch.ulp_post:
    path: /usr/local/lib/libanswer.so.1

- name: Keep the library as the linker wrote it, and write a livepatchable one beside it
  libpulp.livepatch.ulp_post:
    path: /usr/local/src/answer/libanswer.so.1
    dest: /usr/local/lib/libanswer.so.1
    backup: true
"""

RETURN = r"""
path:
  description: The file that was, or in check mode would be, written.
  returned: success
  type: str
  sample: /usr/local/lib/libanswer.so.1
build_id:
  description: The library's build ID in hexadecimal.
  returned: success
  type: str
  sample: 8af5b4dba0e7ae0b8b1a6f2fd44cc63be7ef0a4b
functions:
  description: How many functions of the library have padding and can be replaced by a livepatch.
  returned: success
  type: int
  sample: 154
trampolines:
  description: How many of them are exported and so entered through a trampoline.
  returned: success
  type: int
  sample: 88
untracked:
  description: The names of the exported functions without padding that were accepted.
  returned: success
  type: list
  elements: str
  sample: []
unwind_gaps:
  description:
    - The names of the functions whose unwind information could not be extended over their padding.
    - A debugger or profiler that interrupts a thread in such a padding cannot see the thread's callers.
  returned: success
  type: list
  elements: str
  sample: []
backup_file:
  description: The copy of the file that was replaced.
  returned: when O(backup) is set and a file was replaced
  type: str
  sample: /usr/local/lib/libanswer.so.1.4711.2026-01-31@12:00:00~
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.libpulp.livepatch.plugins.module_utils.ansible_module import run_module
from ansible_collections.libpulp.livepatch.plugins.module_utils.elf.post import post_process


def post(module):
    """Post-process the library that the module's parameters name; returns the module's result."""
    result = post_process(
        module.params["path"],
        destination=module.params["dest"],
        backup=module.params["backup"],
        allow_untracked=module.params["allow_untracked"],
        check=module.check_mode,
    )
    fields = result._asdict()
    del fields["moved"]
    if fields["backup_file"] is None:
        del fields["backup_file"]
    fields["diff"] = {"before": fields.pop("before"), "after": fields.pop("after")}
    return fields


def main():
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "dest": {"type": "path"},
            "backup": {"type": "bool", "default": False},
            "allow_untracked": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    run_module(module, post)


if __name__ == "__main__":
    main()
