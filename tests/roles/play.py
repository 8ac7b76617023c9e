# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Roles of this collection, applied to a container."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

from containers import CHECKOUT, Container


class Play:
    """Runs roles in a container, and tells what changed."""

    def __init__(self, container: Container, directory: Path) -> None:
        self.container = container
        self.directory = directory

    def run(self, role: str, *options: str, **variables: object) -> tuple[int, int, str]:
        """Apply a role.

        :return: exit status, number of changed tasks, output.
        """
        playbook = self.directory / "play.json"
        playbook.write_text(
            json.dumps([{
                "hosts": "all", "gather_facts": False, "vars": variables,
                "roles": [f"libpulp.livepatch.{role}"],
            }])
        )
        inventory = self.directory / "inventory.json"
        inventory.write_text(json.dumps({"all": {"hosts": {"host": self.container.inventory}}}))
        done = subprocess.run(
            [CHECKOUT / ".venv/bin/ansible-playbook", "-i", inventory, playbook, *options],
            env={**self.container.environment, "ANSIBLE_LOCAL_TEMP": str(self.directory / "tmp")},
            stdin=subprocess.DEVNULL, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=os.sep,
            check=False,
        )
        recap = re.search(r"^host\s.*changed=(\d+)", done.stdout, re.MULTILINE)
        assert recap, done.stdout
        return done.returncode, int(recap[1]), done.stdout

    def changes(self, role: str, *options: str, **variables: object) -> int:
        """Apply a role that must succeed; return the number of changed tasks."""
        status, changed, output = self.run(role, *options, **variables)
        assert status == 0, output
        return changed
