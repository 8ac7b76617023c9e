# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator reads while a rollout is under way."""

from __future__ import annotations

DOCUMENTATION = r"""
name: rollout
type: stdout
short_description: Console output of a rollout that can be read
version_added: 1.1.0
description:
  - Shows what a rollout says, that is its plan, a line and a table for each stage and its last words. Shows the tasks
    that changed something or failed, and nothing of those that only looked.
  - A task that takes long says from time to time on how many hosts it is done.
  - With C(-v) everything is shown, as by the callback P(ansible.builtin.default#callback).
author:
  - libpulp.livepatch contributors (@libpulp)
requirements:
  - It is set as stdout callback in the configuration, or as C(ANSIBLE_STDOUT_CALLBACK=libpulp.livepatch.rollout).
extends_documentation_fragment:
  - default_callback
  - result_format_callback
options:
  progress_seconds:
    description: How many seconds a task may be silent before it says on how many hosts it is done.
    type: float
    default: 10
    env:
      - name: ULP_ROLLOUT_PROGRESS_SECONDS
    ini:
      - section: callback_rollout
        key: progress_seconds
"""

import time

from ansible import constants
from ansible.playbook.task_include import TaskInclude
from ansible.plugins.callback.default import CallbackModule as Default
from ansible.utils.fqcn import add_internal_fqcns

_SAYS = add_internal_fqcns(("debug",))
_REFUSES = add_internal_fqcns(("fail", "assert"))
# Its message has the reason of each process; the rows are shown in the table of the stage.
_DISPATCHES = ("libpulp.livepatch.ulp_dispatch",)


class CallbackModule(Default):
    """The default callback, less what nobody asked for."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "libpulp.livepatch.rollout"

    def __init__(self):
        super().__init__()
        self._done = 0  # on so many hosts the task is done
        self._said = time.monotonic()

    def set_options(self, task_keys=None, var_options=None, direct=None):
        super().set_options(task_keys=task_keys, var_options=var_options, direct=direct)
        if not self._display.verbosity:
            # The banner of a task waits then until there is something to show under it.
            self.set_option("display_ok_hosts", False)
            self.set_option("display_skipped_hosts", False)

    def v2_playbook_on_task_start(self, task, is_conditional):
        super().v2_playbook_on_task_start(task, is_conditional)
        self._done = 0
        self._said = time.monotonic()

    def v2_runner_on_ok(self, result):
        if not self._display.verbosity and isinstance(result.task, TaskInclude):
            return
        message = result.result.get("msg") if result.task.action in _SAYS else None
        if self._display.verbosity or message is None:
            super().v2_runner_on_ok(result)
            self._note_progress(result)
            return
        self._say(message, constants.COLOR_OK)

    def v2_runner_on_skipped(self, result):
        super().v2_runner_on_skipped(result)
        self._note_progress(result)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        message = result.result.get("msg") if self._is_plain(result) and not ignore_errors else None
        if self._display.verbosity or message is None:
            super().v2_runner_on_failed(result, ignore_errors)
        else:
            # Ansible would show it twice, as JSON, with the source of the task that only says it.
            of_host = "" if result.task.run_once else f"{self.host_label(result)}: "
            self._say(message, constants.COLOR_ERROR, of_host)
        self._note_progress(result)

    @staticmethod
    def _is_plain(result):
        """Whether the message of a task that failed says it all."""
        return result.task.action in _REFUSES or (result.task.action in _DISPATCHES and "processes" in result.result)

    def v2_runner_on_unreachable(self, result):
        super().v2_runner_on_unreachable(result)
        self._note_progress(result)

    def v2_playbook_on_include(self, included_file):
        if self._display.verbosity:
            super().v2_playbook_on_include(included_file)

    def v2_runner_retry(self, result):
        if self._display.verbosity:
            super().v2_runner_retry(result)

    def _say(self, message, colour, before=""):
        self._display.display("")
        for line in message if isinstance(message, list) else str(message).splitlines():
            self._display.display(f"{before}{line}", color=colour)

    def _note_progress(self, result):
        self._done += 1
        now = time.monotonic()
        if self._display.verbosity or now - self._said < self.get_option("progress_seconds"):
            return
        self._said = now
        hosts = len(self._play.get_variable_manager().get_vars(play=self._play)["ansible_play_batch"])
        if self._done < hosts:
            name = result.task.name or result.task.action
            self._display.display(f"{name}: done on {self._done} of {hosts} hosts")
