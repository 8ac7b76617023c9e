#!/usr/bin/python
# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ulp_check
short_description: Tell whether a livepatch is applied to running processes
version_added: 1.0.0
description:
  - Checks whether a livepatch is applied to the processes that have loaded the library that it is for, and whether
    all their threads use it.
  - It reads memory only. No process is stopped, not even for a moment.
  - So it cannot tell the runtime of a process what it saw. If a row of RV(processes) says that threads may not take the
    livepatch although they are outside the library, run M(libpulp.livepatch.ulp_dispatch) again.
author:
  - libpulp.livepatch contributors (@libpulp)
extends_documentation_fragment:
  - libpulp.livepatch.attributes
  - libpulp.livepatch.attributes.looks
  - libpulp.livepatch.core
  - libpulp.livepatch.processes
  - libpulp.livepatch.examination
options:
  pids:
    description:
      - Look at these processes only. Without this option, look at all on the host.
      - RV(applied) is false if the livepatch is not for one of them.
seealso:
  - module: libpulp.livepatch.ulp_dispatch
"""

EXAMPLES = r"""
- name: Wait until every thread of every process uses the livepatch
  libpulp.livepatch.ulp_check:
    patch: /var/lib/libpulp/livepatches/cve-2026-0001.ulp
  register: check
  until: check is failed or check.applied
  retries: 10
  delay: 5

- name: Make sure that there was any such process
  ansible.builtin.assert:
    that: check.outcomes.already_patched | default(0) > 0
"""

RETURN = r"""
applied:
  description:
    - Whether the livepatch is applied to every process concerned, and all their threads use it.
    - A process is concerned if O(pids) names it, or if it has loaded a target library with the build ID that the
      livepatch is for. If no process is concerned, the answer is true; RV(outcomes) shows that.
    - Of several livepatches, each has to be applied to the processes that it is for. One that another of them replaces
      is not missed.
  returned: success
  type: bool
  sample: true
patch_id:
  description: The livepatch's ID, 64 hexadecimal digits; empty if there are several.
  returned: success
  type: str
  sample: 9e3e1f8b2c7d4a5b6c7d8e9f0a1b2c3d4e5f60718293a4b5c6d7e8f9a0b1c2d3
livepatches:
  description: C(path), C(patch_id) and C(labels) of each livepatch, one behind those that it depends on.
  returned: success
  type: list
  elements: dict
  version_added: 1.1.0
outcomes:
  description: How many processes had each outcome; empty if none has loaded a target library.
  returned: success
  type: dict
  sample: {"already_patched": 3}
processes:
  description:
    - One row for each process that has loaded a target library or was asked for, as
      RV(libpulp.livepatch.ulp_dispatch#module:processes). A process that several livepatches are for has a row for
      each.
    - The outcome is V(already_patched), V(pending), V(reverted), V(not_applicable), V(already_fixed_on_disk),
      V(not_patchable), or V(failed) for a process that the livepatch is not applied to, or in which something else,
      most likely a probe or a debugger, has changed the code at the entry of a function that it relies on.
  returned: success
  type: list
  elements: dict
  sample:
    - pid: 4711
      name: nginx
      outcome: already_patched
      reason: ""
      threads: 8
      threads_pending: 0
      held_us: null
      container: null
      patch_id: 9e3e1f8b2c7d4a5b6c7d8e9f0a1b2c3d4e5f60718293a4b5c6d7e8f9a0b1c2d3
      runs_ansible: false
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.libpulp.livepatch.plugins.module_utils.ansible_module import (
    examine_timeout_of,
    livepatches_of,
    marked,
    run_module,
)
from ansible_collections.libpulp.livepatch.plugins.module_utils.defaults import EXAMINE_SECONDS
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.dispatch import dispatch
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.result import CHECK, count_outcomes
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.select import Selection
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.settings import options_from


def run(module):
    """Look at the processes that the module's parameters name; returns the module's result."""
    options = options_from({"examine_timeout": examine_timeout_of(module)})
    result = dispatch(livepatches_of(module), CHECK, Selection(tuple(module.params["pids"])), options)
    return {
        "changed": False,
        "applied": result.applied,
        "patch_id": result.patch_id,
        "livepatches": [
            {"path": livepatch.path, "patch_id": livepatch.patch_id, "labels": livepatch.labels}
            for livepatch in result.livepatches
        ],
        "outcomes": count_outcomes(result.rows),
        "processes": marked(row.as_dict() for row in result.rows),
        "warnings": result.warnings,
    }


def main():
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "patch": {"type": "raw", "required": True},
            "pids": {"type": "list", "elements": "int", "default": []},
            "examine_timeout": {"type": "float", "default": EXAMINE_SECONDS},
        },
        supports_check_mode=True,
    )
    run_module(module, run)


if __name__ == "__main__":
    main()
