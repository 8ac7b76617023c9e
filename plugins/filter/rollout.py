# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of a rollout for the role ulp_livepatch, which only draws; each is documented in a file of its name."""

from __future__ import annotations

import base64
import hashlib

from ansible_collections.libpulp.livepatch.plugins.module_utils.rollout.console import plan, stage
from ansible_collections.libpulp.livepatch.plugins.module_utils.rollout.course import (
    course,
    readiness,
    rest_of_stage,
    soak,
)
from ansible_collections.libpulp.livepatch.plugins.module_utils.rollout.ending import ending
from ansible_collections.libpulp.livepatch.plugins.module_utils.rollout.faults import (
    failure,
    faults,
    on_hosts,
)
from ansible_collections.libpulp.livepatch.plugins.module_utils.rollout.gates import gate_faults, gate_row, measures
from ansible_collections.libpulp.livepatch.plugins.module_utils.rollout.host import hosts_of
from ansible_collections.libpulp.livepatch.plugins.module_utils.rollout.later import rows_now
from ansible_collections.libpulp.livepatch.plugins.module_utils.rollout.page import page
from ansible_collections.libpulp.livepatch.plugins.module_utils.rollout.report import report
from ansible_collections.libpulp.livepatch.plugins.module_utils.rollout.restarts import restarts
from ansible_collections.libpulp.livepatch.plugins.module_utils.rollout.rows import ours, rows_that
from ansible_collections.libpulp.livepatch.plugins.module_utils.rollout.status import status


def rollout_readiness(answer, held, gates, restarts_by_number, reverts_retracted=False):
    return readiness(answer, held, gate_faults(gates), restarts_by_number, reverts_retracted)


def rollout_course(hostvars, hosts, in_order, direction="present"):
    return course(hosts_of(hostvars, hosts, direction), in_order, direction)


def rollout_soak(hostvars, hosts, number):
    return soak(hosts_of(hostvars, hosts, "present"), int(number))


def rollout_rest_of_stage(hostvars, hosts, alive, ends_play=False, direction="present"):
    later = hostvars["localhost"]["__ulp_livepatch_course"]["later"]
    return rest_of_stage(hosts_of(hostvars, hosts, direction), alive, later, ends_play)


def rollout_plan(hostvars, hosts, direction="present"):
    return plan(hosts_of(hostvars, hosts, direction))


def rollout_report(hostvars, livepatches, direction="present", state=None):
    run = hostvars["localhost"]
    hosts = hosts_of(hostvars, run["__ulp_livepatch_hosts"], direction)
    return report(hosts, run, livepatches, direction, state or None)


def rollout_hash_source(text):
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


class FilterModule:
    """Filters of a rollout."""

    def filters(self):
        return {
            "rollout_faults": faults,
            "rollout_failure": failure,
            "rollout_livepatches": on_hosts,
            "rollout_gate_measures": measures,
            "rollout_gate_row": gate_row,
            "rollout_readiness": rollout_readiness,
            "rollout_course": rollout_course,
            "rollout_soak": rollout_soak,
            "rollout_rest_of_stage": rollout_rest_of_stage,
            "rollout_plan": rollout_plan,
            "rollout_stage": stage,
            "rollout_rows_that": rows_that,
            "rollout_ours": ours,
            "rollout_report": rollout_report,
            "rollout_ending": ending,
            "rollout_rows_now": rows_now,
            "rollout_page": page,
            "rollout_hash_source": rollout_hash_source,
            "rollout_restarts": restarts,
            "rollout_status": status,
        }
