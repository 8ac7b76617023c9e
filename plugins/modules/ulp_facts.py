#!/usr/bin/python
# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ulp_facts
short_description: Tell which processes can be livepatched and what is applied to them
version_added: 1.0.0
description:
  - Finds the processes that have the livepatch runtime, their livepatchable libraries, and the livepatches that are
    applied to them; and the processes that can't be livepatched, with the reason.
  - It also returns the last entries of the ledger, that is, what was applied and reverted on this host lately.
  - It reads memory only. No process is stopped, not even for a moment.
author:
  - libpulp.livepatch contributors (@libpulp)
notes:
  - Run it as root to see the processes of all users.
extends_documentation_fragment:
  - libpulp.livepatch.attributes
  - libpulp.livepatch.attributes.looks
  - libpulp.livepatch.core
  - libpulp.livepatch.examination
attributes:
  facts:
    description: Whether the module returns facts.
    support: full
options:
  ledger:
    description:
      - The file in which M(libpulp.livepatch.ulp_dispatch) writes down what it did.
      - An empty string or null is no file.
    type: path
    default: /var/lib/libpulp/ledger.jsonl
  ledger_entries:
    description: How many of its last entries to return.
    type: int
    default: 50
seealso:
  - module: libpulp.livepatch.ulp_dispatch
  - module: libpulp.livepatch.ulp_check
"""

EXAMPLES = r"""
- name: Look for livepatchable processes
  libpulp.livepatch.ulp_facts:

- name: Show the names of the processes that have threads with old functions
  ansible.builtin.debug:
    msg: "{{ ansible_facts.ulp.processes | selectattr('threads_pending') | map(attribute='name') }}"
"""

RETURN = r"""
ansible_facts:
  description: The facts.
  returned: success
  type: dict
  contains:
    ulp:
      description: Everything about livepatching on this host.
      type: dict
      contains:
        runtime_versions:
          description: The versions of the runtime that processes have loaded.
          type: list
          elements: str
          sample: [1.1.0]
        processes:
          description: The processes that have the runtime, ascending by process ID.
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
            container:
              description:
                - Short ID of the container that it runs in, as seen from the host; null if it runs in none, or in the
                  same one as the module.
              type: str
              sample: 3f9c2d1e8b7a
            own_root:
              description:
                - Whether its root directory differs from the module's, because it runs in a container or after
                  C(chroot). Its paths are then its own, not the host's.
              type: bool
              sample: false
            runs_ansible:
              description:
                - Whether Ansible runs this module through the process, such as its ssh session and C(sudo), or, with a
                  local connection, Ansible itself. It ends with the run.
              type: bool
              sample: false
            patchable:
              description: V(now).
              type: str
              sample: now
            attached:
              description: Whether the runtime was loaded into it while it ran.
              type: bool
              sample: false
            cut_off:
              description:
                - One sentence that says what an attach that was cut off has left in the process; null if nothing is
                  left. It is taken away when a livepatch is applied or reverted.
              type: str
              sample: null
            runtime_version:
              description: Version of its runtime.
              type: str
              sample: 1.1.0
            threads:
              description: How many threads it has.
              type: int
              sample: 8
            threads_pending:
              description: How many of them do not use the newest functions yet, as far as one look can tell.
              type: int
              sample: 0
            libraries:
              description: Its livepatchable libraries, ascending by address.
              type: list
              elements: dict
              contains:
                path:
                  description: Path as the process sees it.
                  type: str
                  sample: /usr/lib/libanswer.so.1
                deleted:
                  description: Whether the file was replaced or removed since the process started.
                  type: bool
                  sample: false
                soname:
                  description: Name of the shared object, or null.
                  type: str
                  sample: libanswer.so.1
                build_id:
                  description: Build ID in hexadecimal, or null.
                  type: str
                  sample: 8af5b4dba0e7ae0b8b1a6f2fd44cc63be7ef0a4b
                post_processed:
                  description: Whether it is post-processed; if not, it has padding only, and can be patched too.
                  type: bool
                  sample: true
                stock:
                  description: Whether a livepatch replaced functions of it, and it was compiled without padding.
                  type: bool
                universe:
                  description: How many times its functions have changed, by applying and reverting.
                  type: int
                  sample: 1
                patches:
                  description: The IDs of the livepatches that are applied to it, and not undone.
                  type: list
                  elements: str
                  sample: [9e3e1f8b2c7d4a5b6c7d8e9f0a1b2c3d4e5f60718293a4b5c6d7e8f9a0b1c2d3]
            patches:
              description: The livepatches that it has loaded, in the order of loading.
              type: list
              elements: dict
              contains:
                patch_id:
                  description: The livepatch's ID, 64 hexadecimal digits.
                  type: str
                  sample: 9e3e1f8b2c7d4a5b6c7d8e9f0a1b2c3d4e5f60718293a4b5c6d7e8f9a0b1c2d3
                name:
                  description: Name of its file.
                  type: str
                  sample: cve-2026-0001.ulp
                status:
                  description:
                    - V(applied) or V(reverted), or V(undone) if it was applied, and something else has changed the code
                      at the entry of a function that it relies on, so that old functions may run.
                  type: str
                  sample: applied
                undone:
                  description: >-
                    One sentence that says which functions those are, what was found there and what to do; else empty.
                  type: str
                  sample: ""
                universe:
                  description: The universe number from which on a thread sees it so.
                  type: int
                  sample: 1
                functions:
                  description: How many functions it replaces.
                  type: int
                  sample: 2
                labels:
                  description: What it is about, as its author said; each key with a list of texts.
                  type: dict
                  sample: {"cve": ["CVE-2026-0001"]}
                time:
                  description: When it was applied or reverted last, in UTC.
                  type: str
                  sample: "2026-11-24T12:00:00Z"
                libraries:
                  description: The names of the libraries that it is for.
                  type: list
                  elements: str
                  sample: [libanswer.so.1]
        unpatchable:
          description:
            - The other processes, ascending by process ID. A process that has moved the code of a library to memory of
              its own, with padding or without, has an entry for each such library, even if it is also listed above.
          type: list
          elements: dict
          contains:
            pid:
              description: Process ID.
              type: int
              sample: 1
            name:
              description: Name of the program.
              type: str
              sample: systemd
            patchable:
              description:
                - V(by attaching) if only the runtime is missing, which M(libpulp.livepatch.ulp_dispatch) loads into
                  it unless O(libpulp.livepatch.ulp_dispatch#module:attach) is V(false); whether that works, a run in
                  check mode says. V(no) otherwise.
              type: str
              sample: by attaching
            reason:
              description: Why it cannot be livepatched as it is, one sentence.
              type: str
              sample: >-
                process 1 (systemd) was started without the livepatch runtime, which an apply loads
            libraries:
              description:
                - The paths of the libraries that it has loaded and that were built for livepatching, or of the library
                  whose code it has moved. If there are none, it has nothing to do with livepatches. Null if that can't
                  be told.
              type: list
              elements: str
              sample: [/usr/lib/libanswer.so.1]
            forbidden:
              description: Whether this user may not look at it.
              type: bool
              sample: false
            runs_ansible:
              description: As in RV(ansible_facts.ulp.processes).
              type: bool
              sample: false
        ledger:
          description: The last entries of the ledger, the oldest first; empty if there is none.
          type: list
          elements: dict
          contains:
            time:
              description: When it happened, in UTC.
              type: str
              sample: "2026-11-24T12:00:00Z"
            operation:
              description:
                - V(patch), V(revert), or V(attach), which is written before the runtime is loaded into a process. An
                  attach also has C(runtime), the SHA-256 of the runtime, and C(user), who asked for it.
              type: str
              sample: patch
            patch_id:
              description: The livepatch's ID, 64 hexadecimal digits.
              type: str
              sample: 9e3e1f8b2c7d4a5b6c7d8e9f0a1b2c3d4e5f60718293a4b5c6d7e8f9a0b1c2d3
            patch:
              description: Name of its file.
              type: str
              sample: cve-2026-0001.ulp
            pid:
              description: Process ID.
              type: int
              sample: 4711
            name:
              description: Name of the program.
              type: str
              sample: nginx
            outcome:
              description: What became of the process, see M(libpulp.livepatch.ulp_dispatch); null for an attach.
              type: str
              sample: patched
            reason:
              description: One sentence, empty if the outcome says it all.
              type: str
              sample: ""
            held_us:
              description: How long a thread was held, in microseconds; null if none was.
              type: float
              sample: 74.5
            container:
              description: Short ID of the container that the process ran in, or null.
              type: str
              sample: 3f9c2d1e8b7a
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.libpulp.livepatch.plugins.module_utils.ansible_module import (
    examine_timeout_of,
    marked,
    run_module,
)
from ansible_collections.libpulp.livepatch.plugins.module_utils.defaults import EXAMINE_SECONDS, LEDGER
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.facts import gather
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.ledger import ENTRIES, read_last


def run(module):
    """Gather the facts; returns the module's result."""
    entries = read_last(module.params["ledger"], module.params["ledger_entries"])
    facts = gather(examine_timeout=examine_timeout_of(module))
    for kind in ("processes", "unpatchable"):
        facts[kind] = marked(facts[kind])
    return {"changed": False, "ansible_facts": {"ulp": dict(facts, ledger=entries)}}


def main():
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "ledger": {"type": "path", "default": LEDGER},
            "ledger_entries": {"type": "int", "default": ENTRIES},
            "examine_timeout": {"type": "float", "default": EXAMINE_SECONDS},
        },
        supports_check_mode=True,
    )
    run_module(module, run)


if __name__ == "__main__":
    main()
