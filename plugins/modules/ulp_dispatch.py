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
  - Applies a livepatch to every running process that has loaded the library that it is for, or reverts it there. If
    there are several, each process gets those that are for what it runs. If a process has loaded several copies of the
    library, each copy is patched.
  - No process is restarted. One thread of each process is held for some microseconds; all others go on.
  - A thread that is inside the library goes on with the old functions and takes the new ones when it has left the
    library and enters it again. Until then it counts as pending.
  - A process to which the livepatch is already applied is left alone.
  - Processes that are forked meanwhile, by one that was not dealt with yet, are dealt with as well, until no more turn
    up.
  - A livepatch is not applied if another user could change the file or a directory above it.
  - When it is asked to end by SIGHUP, SIGINT or SIGTERM, it finishes what is under way, touches no further process,
    writes the ledger, returns what it did, and fails. When SIGINT or SIGTERM comes a second time, it does not wait for
    what is under way.
author:
  - libpulp.livepatch contributors (@libpulp)
requirements:
  - python3-ptrace
  - openssh-client, for O(allowed_signers)
notes:
  - A process needs the runtime. Either it was started with the runtime preloaded, which the role
    P(libpulp.livepatch.ulp_preload#role) sees to, or it is given the runtime while it runs, see O(attach).
extends_documentation_fragment:
  - libpulp.livepatch.attributes
  - libpulp.livepatch.attributes.changes
  - libpulp.livepatch.core
  - libpulp.livepatch.processes
  - libpulp.livepatch.examination
attributes:
  check_mode:
    details: The module says which processes would be patched, and touches none.
options:
  patch:
    description:
      - The livepatch on the host.
      - It can also be a list of several, or the path of a directory, which stands for every file in it whose name ends
        in C(.ulp). If they are the same fix for several builds of a library, each process gets the one for the build
        that it runs. If two replace the same function of one build, one has to depend on the other or replace it;
        otherwise nothing is done, and the message names both.
      - Every process loads it from this path if it finds the same file there and may read it; the file should stay
        where it is. Any other process, such as one in a container, is given the bytes, in a nameless file in memory.
        For that, the process needs a C(/proc) of its own.
      - Either this or O(all_of) is required.
    required: false
  source:
    description:
      - The livepatch on the controller. It is copied to O(patch) first, and so is its signature if there is one beside
        it. Missing directories are created.
      - It can also be a list or a directory, like O(patch). Then O(patch) is a list of the same length, or the
        directory to which all are copied. Other files in that directory are left alone.
      - In check mode nothing stays on the host.
    type: raw
    version_added: 1.1.0
  state:
    description: V(present) applies the livepatch, V(absent) reverts it.
    type: str
    choices: [present, absent]
    default: present
  pids:
    description:
      - Deal with these processes. It is an error if one of them does not exist or cannot be patched. If O(patch) is not
        for one of them, the module warns.
      - Without O(pids) and O(processes), every process on the host that has loaded a target library is dealt with.
  all_of:
    description:
      - Instead of O(patch), the soname of a library. With O(state=absent), every livepatch of that library is reverted,
        in each process in one moment, whatever files of livepatches there are on the host.
      - RV(patch_id) is then empty.
    type: str
    version_added: 1.1.0
  replace:
    description:
      - When O(patch) is applied, revert all other livepatches of its targets in the same moment. No thread sees the
        functions without a fix in between. The row's reason names what was reverted.
      - A livepatch can say by itself which ones it replaces, see O(libpulp.livepatch.ulp_pack#module:replaces).
      - Reverting O(patch) later does not bring back what it has replaced.
    type: bool
    default: false
    version_added: 1.1.0
  processes:
    description: Deal with the processes whose name matches one of these wildcards.
    type: list
    elements: str
    default: []
  exclude:
    description:
      - Leave alone the processes that one of these rules is about, whatever else is said.
      - A rule is the wildcard of a process's name, like V(nginx*); or text as in O(hold_file), like
        V(unit=nginx.service); or a dictionary with one or more of the keys V(name), V(exe), V(user), V(unit),
        V(container) and V(patch), all of which must match.
    type: list
    elements: raw
    default: []
  allowed_signers:
    description:
      - A file on the host that lists who may sign livepatches, in the format that the manual page of C(ssh-keygen)
        describes under ALLOWED SIGNERS. No other user may be able to change it.
      - With it, a livepatch is applied only if there is a valid signature beside it, in a file with C(.sig) appended to
        its name, as O(libpulp.livepatch.ulp_pack#module:signing_key) and C(ulp sign) make it. What is verified is what
        is applied.
      - Reverting a livepatch needs no signature, since nothing of the file is loaded.
    type: path
  allowed_signers_source:
    description: Such a file on the controller. It is copied to O(allowed_signers) first.
    type: path
    version_added: 1.1.0
  signer_identity:
    description:
      - The one principal of O(allowed_signers) whose signature counts.
      - Without it, any principal's signature counts. With it, O(allowed_signers) is required.
    type: str
  kill_switch:
    description:
      - While this file exists on the host, no process is patched; each has the outcome V(excluded). The module looks
        for it again before every process. Reverting goes on as ever.
      - The file counts whoever has made it. If another user could have removed it, the module fails.
      - An empty string or null is no file.
    type: path
    default: /etc/libpulp/stop
  hold_file:
    description:
      - A file on the host that says which processes are left alone, that is, neither patched nor reverted. Each has the
        outcome V(excluded).
      - Every line is a rule, C(KEY=WILDCARD), where the key is V(name), V(exe), V(user), V(unit) (also a slice),
        V(container) (a short ID) or V(patch) (a patch ID or the name of the livepatch). Several conditions on one line
        must all match. Values are quoted as in a shell. Lines that begin with V(#) are remarks.
      - If a line is not a rule, or if another user could change or remove the file, the module fails.
      - An empty string or null is no file.
    type: path
    default: /etc/libpulp/hold
  retracted_file:
    description:
      - A file on the host with the patch IDs of livepatches that nobody may apply any more, one at the beginning of
        each line. Lines that begin with V(#) are remarks. Each process has the outcome V(excluded). Such a livepatch
        can still be reverted.
      - If another user could change or remove the file, the module fails.
      - An empty string or null is no file.
    type: path
    default: /etc/libpulp/retracted
  ledger:
    description:
      - A file on the host that records what was done, with one JSON object per line, for every process that was changed
        or for which that failed. The oldest lines go when the file would grow beyond 1 MiB.
      - The ledger is written if its directory exists and may be written to. Nothing is written in check mode.
      - An empty string or null is no file.
    type: path
    default: /var/lib/libpulp/ledger.jsonl
  timeout:
    description: How many seconds a process may take to carry out the request.
    type: float
    default: 10
  retries:
    description:
      - How often to ask a process again if the thread was at a point where it could not be borrowed, such as in the
        middle of C(malloc).
    type: int
    default: 3000
  attach:
    description:
      - Whether to load the runtime into a process that was started without it. A thread of the process is borrowed for
        that, for less than a millisecond.
      - The runtime stays in the process until the process ends, even if the livepatch is reverted. If the process
        executes another program, the runtime is gone.
      - A rule C(forbid=attach) in O(hold_file) forbids it for the processes that the rule names. If O(ledger) is kept,
        an entry is written there before a process is touched; the journal gets one in any case.
    type: bool
    default: true
    version_added: 1.1.0
  runtime:
    description: The file of the runtime to load into such a process. Nobody but root may be able to change it.
    type: path
    default: /usr/lib/libpulp/libpulp.so
    version_added: 1.1.0
  seccomp:
    description:
      - What to do with a process under a seccomp filter that the kernel does not show, because the module does not run
        as root of the machine, or runs under a filter itself, as inside a container with the usual profile.
      - V(examine) leaves it alone. Its outcome is V(not_patchable).
      - V(assume_errno) patches it, and takes your word that the filter denies system calls with an error. The default
        profiles of podman and docker do so. A filter that kills instead kills the process if it denies a call that the
        runtime needs.
      - A filter that can be examined is examined in both cases.
    type: str
    choices: [examine, assume_errno]
    default: examine
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

- name: Patch every process with the one of these that is for the build that it runs
  libpulp.livepatch.ulp_dispatch:
    source: /root/livepatches/cve-2026-0001
    patch: /var/lib/libpulp/livepatches/cve-2026-0001

- name: Patch the web servers only, and wait until every thread uses the new functions
  libpulp.livepatch.ulp_dispatch:
    patch: /var/lib/libpulp/livepatches/cve-2026-0001.ulp
    processes: [nginx]
    wait_migrated: 30

- name: Patch only with what the security team has signed, and leave the database alone
  libpulp.livepatch.ulp_dispatch:
    patch: /var/lib/libpulp/livepatches/cve-2026-0001.ulp
    allowed_signers: /etc/libpulp/allowed_signers
    signer_identity: security@example.com
    exclude:
      - unit=postgresql@*.service
      - user: batch
        exe: /opt/reports/*

- name: Take it back
  libpulp.livepatch.ulp_dispatch:
    patch: /var/lib/libpulp/livepatches/cve-2026-0001.ulp
    state: absent

- name: Patch in place of whatever was applied to the library before
  libpulp.livepatch.ulp_dispatch:
    patch: /var/lib/libpulp/livepatches/cve-2026-0002.ulp
    replace: true

- name: Revert every livepatch of a library, in each process in one moment
  libpulp.livepatch.ulp_dispatch:
    all_of: libanswer.so.1
    state: absent
"""

RETURN = r"""
patch_id:
  description: The livepatch's ID, 64 hexadecimal digits; empty with O(all_of), and if there are several livepatches.
  returned: success
  type: str
  sample: 9e3e1f8b2c7d4a5b6c7d8e9f0a1b2c3d4e5f60718293a4b5c6d7e8f9a0b1c2d3
livepatches:
  description: The livepatches, in the order in which they are dealt with. With O(all_of), one without an ID.
  returned: success
  type: list
  elements: dict
  version_added: 1.1.0
  contains:
    path:
      description: Its file on the host.
      type: str
      sample: /var/lib/libpulp/livepatches/cve-2026-0001.ulp
    patch_id:
      description: Its ID, 64 hexadecimal digits.
      type: str
      sample: 9e3e1f8b2c7d4a5b6c7d8e9f0a1b2c3d4e5f60718293a4b5c6d7e8f9a0b1c2d3
    labels:
      description: What it is about, as its author said; each key with a list of texts.
      type: dict
      sample: {"cve": ["CVE-2026-0001"]}
    signer:
      description: The principal of O(allowed_signers) whose signature was verified, or null.
      type: str
      sample: security@example.com
    retracted:
      description: Whether it is on the list O(retracted_file), which kept it from being applied.
      type: bool
      sample: false
labels:
  description: What the livepatches are about, as their authors said; each key with a list of texts.
  returned: success
  type: dict
  sample: {"cve": ["CVE-2026-0001"]}
  version_added: 1.1.0
processes:
  description:
    - One row for each process that has loaded a target library or was asked for, ascending by process ID.
    - A process that several of the livepatches are for has a row for each, in the order of RV(livepatches).
  returned: always, unless the livepatch itself cannot be used
  type: list
  elements: dict
  contains:
    pid:
      description: Process ID.
      type: int
      sample: 4711
    patch_id:
      description:
        - The ID of the livepatch that the row is about. It is empty if the row is about none in particular, as with
          O(all_of), or if the process runs a build of the library that none of several livepatches is for.
      type: str
      sample: 9e3e1f8b2c7d4a5b6c7d8e9f0a1b2c3d4e5f60718293a4b5c6d7e8f9a0b1c2d3
      version_added: 1.1.0
    name:
      description: Name of the program.
      type: str
      sample: nginx
    outcome:
      description:
        - V(patched), the livepatch is applied now. If it was applied before, and something else had undone it in a
          function (as a probe does that is removed again), RV(processes[].reason) names the function.
        - V(already_patched), it was applied before.
        - V(reverted), it is reverted.
        - V(pending), it is applied or reverted, but threads that are inside the library have not switched yet, or
          threads outside may not switch on their next call; run the task again to make sure. A process that is still
          loading the livepatch is V(pending) too; RV(processes[].threads_pending) is then 0 and the module fails.
        - V(not_applicable), the process does not run the library, or there is nothing to revert, or it ended
          while the tool waited for its threads.
        - V(already_fixed_on_disk), it runs the build of the library that is on disk, and that is not the vulnerable
          one. Usually, that is the fixed build. The livepatch cannot tell; RV(processes[].reason) has the build ID.
        - V(not_patchable), it cannot be patched. This includes a process that runs another build of the library which
          has been replaced on disk since. Nobody can say whether that build has the fault.
        - V(excluded), O(exclude), O(hold_file), O(kill_switch) or O(retracted_file) says that it is left alone.
        - V(failed), the process could be patched, but was not; or the livepatch stays applied, although it was to be
          reverted.
      type: str
      sample: patched
    reason:
      description:
        - One sentence, empty if the outcome says it all. In check mode it says what cannot be foreseen of a process
          that would be patched.
      type: str
      sample: ""
    threads:
      description: How many threads the process has; 0 if they were not looked at.
      type: int
      sample: 8
    threads_pending:
      description: >-
        How many of them are inside the library, or may be. Stacks of coroutines that were suspended inside count,
        too.
      type: int
      sample: 0
    held_us:
      description: How long a thread was held, in microseconds; null if none was.
      type: float
      sample: 74.5
    container:
      description:
        - Short ID of the container that the process runs in, as seen from the host; null if it runs in none, or in the
          same one as the module.
      type: str
      sample: 3f9c2d1e8b7a
    runs_ansible:
      description:
        - Whether Ansible runs this module through the process, such as its ssh session, C(sudo) and the shells between,
          or, with a local connection, Ansible itself. It ends with the run.
      type: bool
      sample: false
    attached:
      description: >-
        Whether the runtime was loaded into the process while that ran, by this run or before. In check mode, also
        whether it would be.
      type: bool
      sample: false
    attached_now:
      description: Whether this run has loaded it; in check mode, whether it would.
      type: bool
      sample: false
      version_added: 1.1.0
    unit:
      description: The systemd service to restart if the process can't be patched; empty if it belongs to none.
      type: str
      sample: nginx.service
      version_added: 1.1.0
    coroutines:
      description:
        - How often the library was entered on a stack that no thread was started with, as coroutines do.
        - If it is not 0, a coroutine that is suspended inside the library may still go on with old functions.
      type: int
      sample: 0
copied:
  description: Whether the livepatch, its signature or the list of signers was copied to the host and stays there.
  returned: with O(source) or O(allowed_signers_source)
  type: bool
  sample: true
  version_added: 1.1.0
outcomes:
  description: How many processes had each outcome. If a process has several rows, the worst counts.
  returned: always, unless the livepatch itself cannot be used
  type: dict
  sample: {"patched": 3, "not_patchable": 1}
signer:
  description:
    - The principal of O(allowed_signers) whose signature was verified, or null. Null also where that is not the same
      for all livepatches, see RV(livepatches[].signer).
  returned: success
  type: str
  sample: security@example.com
stopped:
  description: Whether O(kill_switch) exists and kept processes from being patched.
  returned: always, unless the livepatch itself cannot be used
  type: bool
  sample: false
incomplete:
  description:
    - Whether processes that run the library kept turning up, as children of one that is not patched do, until the
      module gave up looking for more. Then the module fails, and the message names the parent.
  returned: always, unless the livepatch itself cannot be used
  type: bool
  sample: false
retracted:
  description: Whether a livepatch is on the list O(retracted_file), which kept it from being applied.
  returned: always, unless the livepatch itself cannot be used
  type: bool
  sample: false
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.libpulp.livepatch.plugins.module_utils.ansible_module import (
    examine_timeout_of,
    livepatches_of,
    marked,
    run_module,
)
from ansible_collections.libpulp.livepatch.plugins.module_utils.defaults import (
    ATTACH,
    EXAMINE,
    EXAMINE_SECONDS,
    HOLD_FILE,
    KILL_SWITCH,
    LEDGER,
    RETRACTED_FILE,
    RETRIES,
    RUNTIME,
    SECCOMP,
    TIMEOUT_SECONDS,
)
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.dispatch import dispatch, revert_all_of
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.result import (
    PATCH,
    REVERT,
    UNCONCERNED,
    count_outcomes,
    state_text,
)
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.select import Selection
from ansible_collections.libpulp.livepatch.plugins.module_utils.dispatch.settings import options_from, policy_from
from ansible_collections.libpulp.livepatch.plugins.module_utils.errors import UlpError
from ansible_collections.libpulp.livepatch.plugins.module_utils.process.affiliation import service
from ansible_collections.libpulp.livepatch.plugins.module_utils.trigger.outcome import MEANINGS


def _unit(row):
    """The systemd service to restart, of a process that can't be patched; "" for any other."""
    # What runs in a container is not restarted by the unit of the engine that runs it.
    if row["container"] or not MEANINGS[row["outcome"]].restart:
        return ""
    try:
        return service(row["pid"])
    except UlpError:
        return ""


def run(module):
    """Do what the module's parameters say; returns the module's result."""
    parameters = module.params
    for name in ("source", "allowed_signers_source"):
        if parameters[name] is not None:
            module.fail_json(msg=f"{name} is a file on the controller: only a task of Ansible can bring it along")
    for name in ("timeout", "retries", "wait_migrated"):
        if parameters[name] < 0:
            module.fail_json(msg=f"{name} must not be negative")
    selection = Selection(tuple(parameters["pids"]), tuple(parameters["processes"]))
    settings = dict(parameters, examine_timeout=examine_timeout_of(module))
    options = options_from(settings, check=module.check_mode)
    policy = policy_from(settings)
    if parameters["all_of"] is not None:
        if parameters["state"] != "absent":
            module.fail_json(msg="all_of can only be reverted: state must be absent")
        result = revert_all_of(parameters["all_of"], selection, options, policy)
    else:
        if parameters["replace"] and parameters["state"] != "present":
            module.fail_json(msg="replace is for applying a livepatch: state must be present")
        result = dispatch(
            livepatches_of(module), PATCH if parameters["state"] == "present" else REVERT, selection, options, policy
        )
    fields = {
        "changed": result.changed,
        "patch_id": result.patch_id,
        "livepatches": [livepatch._asdict() for livepatch in result.livepatches],
        "labels": result.labels,
        "processes": [dict(row, unit=_unit(row)) for row in marked(row.as_dict() for row in result.rows)],
        "outcomes": count_outcomes(result.rows),
        "signer": result.signer,
        "stopped": result.stopped,
        "retracted": result.retracted,
        "incomplete": result.incomplete is not None,
        "warnings": result.warnings + [row.reason for row in result.unmet if row.outcome in UNCONCERNED],
        "diff": {"before": state_text(result, False), "after": state_text(result, True)},
    }
    if result.failures:
        fields["failed"] = True
        fields["msg"] = "; ".join(row.reason for row in result.failures)
    if result.incomplete:
        fields["failed"] = True
        fields["msg"] = "; ".join(filter(None, (fields.get("msg"), result.incomplete)))
    if result.signal:
        fields["failed"] = True
        fields["msg"] = "; ".join(filter(None, (fields.get("msg"), result.interruption)))
    return fields


def main():
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "patch": {"type": "raw"},
            "source": {"type": "raw"},
            "all_of": {"type": "str"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "replace": {"type": "bool", "default": False},
            "pids": {"type": "list", "elements": "int", "default": []},
            "processes": {"type": "list", "elements": "str", "default": []},
            "exclude": {"type": "list", "elements": "raw", "default": []},
            "allowed_signers": {"type": "path"},
            "allowed_signers_source": {"type": "path"},
            "signer_identity": {"type": "str"},
            "kill_switch": {"type": "path", "default": KILL_SWITCH},
            "hold_file": {"type": "path", "default": HOLD_FILE},
            "retracted_file": {"type": "path", "default": RETRACTED_FILE},
            "ledger": {"type": "path", "default": LEDGER},
            "timeout": {"type": "float", "default": TIMEOUT_SECONDS},
            "retries": {"type": "int", "default": RETRIES},
            "attach": {"type": "bool", "default": ATTACH},
            "runtime": {"type": "path", "default": RUNTIME},
            "seccomp": {"type": "str", "choices": list(SECCOMP), "default": EXAMINE},
            "wait_migrated": {"type": "float", "default": 0},
            "examine_timeout": {"type": "float", "default": EXAMINE_SECONDS},
        },
        required_one_of=[("patch", "all_of")],
        mutually_exclusive=[("patch", "all_of")],
        supports_check_mode=True,
    )
    run_module(module, run)


if __name__ == "__main__":
    main()
