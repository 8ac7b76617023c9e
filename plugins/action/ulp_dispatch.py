# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module ulp_dispatch needs of the controller: it brings the livepatch along, if that is wanted."""

from __future__ import annotations

import os

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

from ansible_collections.libpulp.livepatch.plugins.module_utils.counted import counted
from ansible_collections.libpulp.livepatch.plugins.module_utils.errors import UlpError
from ansible_collections.libpulp.livepatch.plugins.module_utils.livepatch_files import livepatch_files

MODULE = "libpulp.livepatch.ulp_dispatch"
_DIRECTORY = {"state": "directory", "mode": "0755"}


class ActionModule(ActionBase):
    """Copies the livepatch, its signature and the list of signers to the host; in check mode, to a place that goes."""

    def run(self, tmp=None, task_vars=None):
        """The result of the module, with ``copied``: whether a file was copied to where it stays."""
        super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        source = arguments.pop("source", None)
        signers = arguments.pop("allowed_signers_source", None)
        if not source and not signers:
            return self._execute_module(MODULE, arguments, task_vars=task_vars)
        return self._bring_along(source, signers, arguments, task_vars)

    def _bring_along(self, source, signers, arguments, task_vars):
        for needed, given in (("patch", source), ("allowed_signers", signers)):
            if given and not arguments.get(needed):
                return {"failed": True, "msg": f"it takes {needed}, too: where on the host to put {given}"}
        try:
            wanted = self._wanted(source, signers, arguments)
        except UlpError as error:
            return {"failed": True, "msg": str(error)}
        for path, _destination in wanted:
            if not os.path.isfile(path):
                return {"failed": True, "msg": f"{path} is not a file on the controller: give the path of one"}
        try:
            # Nothing was done to a host that does not answer now.
            self._helper("stat", {"path": "/"}, task_vars)
        except AnsibleConnectionFailure as error:
            return {"unreachable": True, "untouched": True, "msg": str(error)}
        if self._task.check_mode:
            return self._asked(arguments, wanted, task_vars)
        copied = False
        for path, destination in wanted:
            answer = self._copy(path, destination, task_vars)
            if answer.get("failed"):
                return answer
            copied = copied or answer["changed"]
        result = self._execute_module(MODULE, arguments, task_vars=task_vars)
        return dict(result, copied=copied, changed=result.get("changed", False) or copied)

    @staticmethod
    def _wanted(source, signers, arguments):
        """(path on the controller, path on the host) of each file; ``patch`` becomes the paths of the livepatches."""
        wanted = [(_real(signers), arguments["allowed_signers"])] if signers else []
        if not source:
            return wanted
        livepatches = _livepatches(source, arguments["patch"])
        arguments["patch"] = [destination for _path, destination in livepatches]
        for path, destination in livepatches:
            wanted.append((path, destination))
            if os.path.isfile(f"{path}.sig"):
                wanted.append((f"{path}.sig", f"{destination}.sig"))
        return wanted

    def _asked(self, arguments, wanted, task_vars):
        """The result of the module in check mode, of files that are gone when it is there."""
        place = self._helper("tempfile", {"state": "directory", "prefix": "ulp-"}, task_vars)
        if place.get("failed"):
            return place
        meant = {}
        destinations = [destination for _path, destination in wanted]
        directories = sorted({os.path.dirname(destination) for destination in destinations})
        # Files of different directories may be called alike.
        apart = len({os.path.basename(destination) for destination in destinations}) < len(destinations)
        try:
            for path, destination in wanted:
                directory, name = os.path.split(destination)
                inside = [str(directories.index(directory))] if apart else []
                temporary = os.path.join(place["path"], *inside, name)
                answer = self._copy(path, temporary, task_vars)
                if answer.get("failed"):
                    return answer
                meant[temporary] = destination
            instead = {destination: temporary for temporary, destination in meant.items()}
            if arguments.get("allowed_signers") in instead:
                arguments["allowed_signers"] = instead[arguments["allowed_signers"]]
            if isinstance(arguments.get("patch"), list):
                arguments["patch"] = [instead.get(path, path) for path in arguments["patch"]]
            result = self._execute_module(MODULE, arguments, task_vars=task_vars)
        finally:
            self._helper("file", {"path": place["path"], "state": "absent"}, task_vars)
        return dict(_renamed(result, meant), copied=False)

    def _copy(self, path, destination, task_vars):
        """Copy a file of the controller; the directory that it goes to is made if it is not there."""
        directory = os.path.dirname(destination)
        found = self._helper("stat", {"path": directory}, task_vars)
        if not found.get("failed") and not found["stat"]["exists"]:
            found = self._helper("file", dict(_DIRECTORY, path=directory), task_vars)
        if found.get("failed"):
            return found
        task = self._task.copy()
        task.args = {"src": path, "dest": destination, "mode": "0644"}
        task.check_mode = False
        action = self._shared_loader_obj.action_loader.get(
            "ansible.legacy.copy", task=task, connection=self._connection, play_context=self._play_context,
            loader=self._loader, templar=self._templar, shared_loader_obj=self._shared_loader_obj,
        )
        return action.run(task_vars=task_vars)

    def _helper(self, name, arguments, task_vars):
        """The result of a module of Ansible's own, which does what it says in check mode, too."""
        asked = self._task.check_mode
        self._task.check_mode = False
        try:
            return self._execute_module(f"ansible.legacy.{name}", arguments, task_vars=task_vars)
        finally:
            self._task.check_mode = asked


def _livepatches(source, patch):
    """(path on the controller, path on the host) of each livepatch.

    :param source: path of a livepatch on the controller or of a directory of such, or a list of paths.
    :param patch: where on the host they go: a path for one file, a list of paths that is as long as that of the files,
        or a directory.
    :raises UlpError: that does not go together, or there is no livepatch.
    """
    files = livepatch_files([_real(path) for path in ([source] if isinstance(source, str) else source)])
    is_one = isinstance(source, str) and not os.path.isdir(_real(source))
    if is_one and isinstance(patch, str):
        return [(files[0], patch)]
    if isinstance(patch, str):
        taken: dict = {}
        for file in files:
            other = taken.setdefault(os.path.basename(file), file)
            if other != file:
                raise UlpError(f"{other} and {file} would have the same name in {patch} on the host: rename one")
        return [(file, os.path.join(patch, name)) for name, file in taken.items()]
    if len(files) != len(patch):
        raise UlpError(
            f"patch names {counted(len(patch), 'path')} on the host, and source"
            f" {counted(len(files), 'livepatch', 'es')}: name as many, or a directory"
        )
    return list(zip(files, patch))


def _real(path):
    return os.path.realpath(os.path.expanduser(path))


def _renamed(value, meant):
    """``value``, in whose strings temporary paths are those that are meant."""
    if isinstance(value, str):
        # The longest first: that of the signature begins with that of the livepatch.
        for temporary in sorted(meant, key=len, reverse=True):
            value = value.replace(temporary, meant[temporary])
        return value
    if isinstance(value, dict):
        return {key: _renamed(its, meant) for key, its in value.items()}
    if isinstance(value, list):
        return [_renamed(its, meant) for its in value]
    return value
