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
  - With C(-v) everything is shown, as by the callback P(ansible.builtin.default#callback).
author:
  - libpulp.livepatch contributors (@libpulp)
requirements:
  - It is set as stdout callback in the configuration, or as C(ANSIBLE_STDOUT_CALLBACK=libpulp.livepatch.rollout).
extends_documentation_fragment:
  - default_callback
  - result_format_callback
"""

from ansible import constants
from ansible.playbook.task_include import TaskInclude
from ansible.plugins.callback.default import CallbackModule as Default

_SAYS = ("debug", "ansible.builtin.debug", "ansible.legacy.debug")


class CallbackModule(Default):
    """The default callback, less what nobody asked for."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "libpulp.livepatch.rollout"

    def set_options(self, task_keys=None, var_options=None, direct=None):
        super().set_options(task_keys=task_keys, var_options=var_options, direct=direct)
        if not self._display.verbosity:
            # The banner of a task waits then until there is something to show under it.
            self.set_option("display_ok_hosts", False)
            self.set_option("display_skipped_hosts", False)

    def v2_runner_on_ok(self, result):
        if not self._display.verbosity and isinstance(result.task, TaskInclude):
            return
        message = result.result.get("msg") if result.task.action in _SAYS else None
        if self._display.verbosity or message is None:
            super().v2_runner_on_ok(result)
            return
        self._display.display("")
        for line in message if isinstance(message, list) else str(message).splitlines():
            self._display.display(str(line), color=constants.COLOR_OK)

    def v2_playbook_on_include(self, included_file):
        if self._display.verbosity:
            super().v2_playbook_on_include(included_file)

    def v2_runner_retry(self, result):
        if self._display.verbosity:
            super().v2_runner_retry(result)
