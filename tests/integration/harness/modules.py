# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection's modules, run by ansible itself on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ANSIBLE = Path(sys.executable).with_name("ansible")
ANSIBLE_PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")
# Seconds; only for what hangs: on a busy machine one run of ansible takes a minute.
TIMEOUT = 600


def run_module(name: str, *options: str, status: int = 0, **arguments: object) -> tuple[dict[str, Any], str]:
    """Run a module; ansible must exit with ``status``.

    :param options: of the command ansible.
    :param arguments: of the module.
    :return: what the module returned, and its warnings.
    """
    done = subprocess.run(
        [ANSIBLE, "localhost", "-c", "local", *options, "-e", f"ansible_python_interpreter={sys.executable}",
         "-m", f"libpulp.livepatch.{name}", "-a", json.dumps(arguments, default=str)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT, check=False,
        env=dict(os.environ, ANSIBLE_PIPELINING="false"))
    assert done.returncode == status, done.stdout + done.stderr
    return json.loads(done.stdout.partition("=>")[2]), " ".join(done.stderr.split())


def module(name: str, *options: str, status: int = 0, **arguments: object) -> dict[str, Any]:
    """What the module returned."""
    return run_module(name, *options, status=status, **arguments)[0]
