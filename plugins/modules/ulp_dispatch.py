#!/usr/bin/python
# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ulp_dispatch
short_description: Apply a livepatch to running processes, or revert it
version_added: 1.0.0
description:
  - Applies a livepatch to every running process that has loaded the library that it is for, or reverts it there.
  - No process is restarted. One thread of each process is held for some microseconds; all others go on.
  - A thread that is inside the library goes on with the old functions and takes the new ones when it next enters the
    library. Until then it counts as pending.
  - A process that the livepatch is applied to already is left alone.
author:
  - libpulp.livepatch contributors (@libpulp)
requirements:
  - python3-pyelftools
  - python3-ptrace
notes:
  - Run it as root, or as the owner of the processes.
  - A process can be patched only if it was started with the runtime preloaded, see the role
    P(libpulp.livepatch.ulp_preload#role).
extends_documentation_fragment:
  - libpulp.livepatch.attributes
attributes:
  check_mode:
    support: full
    details: It says which processes would be patched, and touches none.
  diff_mode:
    support: full
  platform:
    support: full
options:
  patch:
    description:
      - The livepatch container on the host.
      - Every process loads it from this path, so it must be able to read it, and the file should stay where it is.
    type: path
    required: true
  state:
    description: V(present) applies the livepatch, V(absent) reverts it.
    type: str
    choices: [present, absent]
    default: present
  pids:
    description:
      - Deal with these processes. It is an error if one of them does not exist or cannot be patched.
      - Without O(pids) and O(processes), every process on the host that has loaded a target library is dealt with.
    type: list
    elements: int
    default: []
  processes:
    description: Deal with the processes whose name matches one of these wildcards.
    type: list
    elements: str
    default: []
  exclude:
    description: Leave alone all processes whose name matches one of these wildcards, whatever else is said.
    type: list
    elements: str
    default: []
  timeout:
    description: How many seconds a process may take to carry out the request.
    type: float
    default: 10
  retries:
    description:
      - How often to ask a process again when its thread was at a point where it could not serve, as in the middle of
        C(malloc).
    type: int
    default: 3000
  wait_migrated:
    description: How many seconds to wait, for all processes together, until no thread is pending any more.
    type: float
    default: 0
seealso:
  - module: libpulp.livepatch.ulp_pack
  - module: libpulp.livepatch.ulp_check
  - module: libpulp.livepatch.ulp_facts
"""

EXAMPLES = r"""
- name: Patch every process that runs the vulnerable library
  libpulp.livepatch.ulp_dispatch:
    patch: /var/lib/libpulp/livepatches/cve-2026-0001.ulp

- name: Patch the web servers only, and wait until every thread uses the new functions
  libpulp.livepatch.ulp_dispatch:
    patch: /var/lib/libpulp/livepatches/cve-2026-0001.ulp
    processes: [nginx]
    wait_migrated: 30

- name: Take it back
  libpulp.livepatch.ulp_dispatch:
    patch: /var/lib/libpulp/livepatches/cve-2026-0001.ulp
    state: absent
"""

RETURN = r"""
patch_id:
  description: The livepatch's ID, 64 hexadecimal digits.
  returned: success
  type: str
  sample: 9e3e1f8b2c7d4a5b6c7d8e9f0a1b2c3d4e5f60718293a4b5c6d7e8f9a0b1c2d3
processes:
  description: One row for each process that has loaded a target library or was asked for, ascending by process ID.
  returned: always, unless the livepatch itself cannot be used
  type: list
  elements: dict
  contains:
    pid:
      description: Process ID.
      type: int
      sample: 4711
    name:
      description: Name of the program.
      type: str
      sample: nginx
    outcome:
      description:
        - V(patched), the livepatch is applied now.
        - V(already_patched), it was before.
        - V(reverted), it is reverted.
        - V(pending), it is applied or reverted, but threads that are inside the library do not take part yet; or the
          process is still loading it, then RV(processes[].threads_pending) is 0 and the module fails.
        - V(not_applicable), the process does not run the library, or there is nothing to revert.
        - V(already_fixed_on_disk), it runs the library with another build ID than the vulnerable one.
        - V(not_patchable), it cannot be patched.
        - V(excluded), its name matches O(exclude).
        - V(failed), it could be patched, but was not.
      type: str
      sample: patched
    reason:
      description: One sentence, empty if the outcome says it all.
      type: str
      sample: ""
    threads:
      description: How many threads the process has; 0 if they were not looked at.
      type: int
      sample: 8
    threads_pending:
      description: How many of them are inside the library, or may be.
      type: int
      sample: 0
    held_us:
      description: How long a thread was held, in microseconds; null if none was.
      type: float
      sample: 74.5
outcomes:
  description: How many processes had each outcome.
  returned: always, unless the livepatch itself cannot be used
  type: dict
  sample: {"patched": 3, "not_patchable": 1}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.libpulp.livepatch.plugins.module_utils.ansible_module import run_module
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.dispatch import (
    PATCH,
    REVERT,
    count_outcomes,
    dispatch,
    state_text,
)
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.select import Selection
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.options import (
    RETRIES,
    TIMEOUT_SECONDS,
    Options,
)


def run(module):
    """Do what the module's parameters say; returns the module's result."""
    parameters = module.params
    for name in ("timeout", "retries", "wait_migrated"):
        if parameters[name] < 0:
            module.fail_json(msg=f"{name} must not be negative")
    selection = Selection(
        tuple(parameters["pids"]), tuple(parameters["processes"]), tuple(parameters["exclude"])
    )
    options = Options(
        timeout=parameters["timeout"],
        retries=parameters["retries"],
        wait_migrated=parameters["wait_migrated"],
        check=module.check_mode,
    )
    result = dispatch(
        parameters["patch"], PATCH if parameters["state"] == "present" else REVERT, selection, options
    )
    fields = {
        "changed": result.changed,
        "patch_id": result.patch_id,
        "processes": [row.as_dict() for row in result.rows],
        "outcomes": count_outcomes(result.rows),
        "warnings": result.warnings,
        "diff": {"before": state_text(result, False), "after": state_text(result, True)},
    }
    failures = result.failures(selection.pids)
    if failures:
        fields["failed"] = True
        fields["msg"] = "; ".join(row.reason for row in failures)
    return fields


def main():
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "patch": {"type": "path", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "pids": {"type": "list", "elements": "int", "default": []},
            "processes": {"type": "list", "elements": "str", "default": []},
            "exclude": {"type": "list", "elements": "str", "default": []},
            "timeout": {"type": "float", "default": TIMEOUT_SECONDS},
            "retries": {"type": "int", "default": RETRIES},
            "wait_migrated": {"type": "float", "default": 0},
        },
        supports_check_mode=True,
    )
    run_module(module, run)


if __name__ == "__main__":
    main()
