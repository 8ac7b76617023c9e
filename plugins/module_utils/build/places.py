# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where livepatches are built: on the build host itself, or in one root or image after another.

What is built in a root is written to its own work directory first, and from there to where it is wanted: two roots may
build the very same library, and one livepatch is for both.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from typing import Any, Callable, Iterator, Mapping, Sequence

from ..atomic_file import read_file
from ..errors import FileProblem, UlpError
from ..livepatch.pack import shown_livepatch
from .build import BuildResult, page_path, shown, write_output
from .errors import BuildFailed
from .image import unpacked_image
from .left_behind import sentence_on
from .loaded_code import load
from .namespaces import run_apart
from .ordering import Order, require_user, work_directory
from .root import Root, enter, require_root, require_system, system_digest, system_name, why_not_loaded
from .variants import Part, build_variants, require_directory, together, variants

_STAGED = "out"


class Places:
    """Roots and images to build in, as they were asked for; none: the build host itself."""

    def __init__(self, roots: Sequence[str] = (), images: Sequence[str] = ()) -> None:
        self.all = [*({"root": name} for name in dict.fromkeys(roots)),
                    *({"image": name} for name in dict.fromkeys(images))]


def build_livepatches(order: Order, commands: Sequence[str], running: Sequence[str], places: Places,
                      progress: Callable[[str], None], check: bool = False) -> BuildResult:
    """Build livepatches in each of some places; other arguments, result and errors as of build_variants().

    ``running`` are files of the place, and names of packages that are installed there.  Two runs in one work directory
    go one after the other.
    """
    require_user(order)
    with _locked(work_directory(order), progress):
        if not places.all:
            return build_variants(order, commands, running, progress, check)
        several = len(places.all) > 1
        if several or len({*commands}) > 1 or len({*running}) > 1:
            require_directory(order)
        load()
        delivery = _Delivery(order.output, check)
        parts = []
        for place in places.all:
            parts += _in_place(place, order, commands, running, several, delivery, progress)
        if len(parts) > 1:
            return together(parts)
        if parts[0].result is None:
            raise BuildFailed(f"{parts[0].where}{parts[0].error}")
        return parts[0].result


@contextlib.contextmanager
def _locked(directory: str, progress: Callable[[str], None]) -> Iterator[None]:
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        descriptor = os.open(os.path.join(directory, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise FileProblem("create", directory, error) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress(f"wait for another run that builds in {directory}")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _in_place(place: Mapping[str, str], order: Order, commands: Sequence[str], running: Sequence[str], several: bool,
              delivery: _Delivery, progress: Callable[[str], None]) -> list[Part]:
    """The parts of one root or image, with one about what kept others from being built, if anything did."""
    (kind, name), = place.items()

    def say(step: str) -> None:
        progress(f"the {kind} {name}: {step}")

    real = os.path.realpath(name) if kind == "root" else name
    work = os.path.join(
        os.path.realpath(work_directory(order)), f"{kind}-{hashlib.sha256(os.fsencode(real)).hexdigest()[:12]}")
    staged = os.path.join(work, "work", _STAGED)
    parts: list[Part] = []
    try:
        root = Root(require_root(name)) if kind == "root" else Root(
            require_root(unpacked_image(name, _made(work), say)), name)
        _build_in(root, order, commands, running, several, _made(os.path.join(work, "work")), parts, say)
    except UlpError as error:
        left = [] if parts else delivery.left(staged)
        parts.append(Part(None, None, None, str(error.args[0]) + (f"; {sentence_on(left)}" if left else "")))
    return [delivery.deliver(part, staged)._replace(place=place) for part in parts]


def _made(directory: str) -> str:
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
    except OSError as error:
        raise FileProblem("create", directory, error) from error
    return directory


def _build_in(root: Root, order: Order, commands: Sequence[str], running: Sequence[str], several: bool, work: str,
              parts: list[Part], say: Callable[[str], None]) -> None:
    """Build each variant in a root, and add what came of it to ``parts``; livepatches are in the work directory."""
    output = os.path.join(work, _STAGED)
    if order.output.endswith(".ulp") and not os.path.isdir(order.output):
        output = os.path.join(output, os.path.basename(order.output))
    order, readable = _inside(order._replace(work=work, output=output))
    programs = [("dpkg-buildpackage", "dpkg-dev")] * (order.debian is not None) + [
        ("rpmbuild", "rpm")] * (order.srpm is not None)

    def act(send: Callable[[Any], None]) -> None:
        enter(root, readable, [work])
        require_system(root, programs)
        name = system_name()
        mine = order._replace(system=system_digest(), built_in=f"{root.name} ({name})" if name else root.name,
                              install=root.install)
        unproved = _without_runtime(root, order)
        if unproved:
            mine = mine._replace(runtime=None)
        for part in variants(mine, commands, running, lambda step: send({"step": step}), tell_apart=several):
            if part.result is not None:
                part.result.fields["warnings"] += unproved
            send({"part": [part.command, part.running, part.result, part.error]})

    def listen(message: dict[str, Any]) -> None:
        if "step" in message:
            say(message["step"])
        else:
            command, file, result, error = message["part"]
            parts.append(Part(command, file, BuildResult(*result) if result is not None else None, error))

    run_apart(act, listen)


def _without_runtime(root: Root, order: Order) -> list[str]:
    """A warning that nothing is proved in the root, where the runtime cannot be loaded; else none.

    :raises BuildFailed: a test was asked for, which needs it.
    """
    if order.runtime is None or not os.path.isfile(order.runtime):
        # Which is refused, as on the build host.
        return []
    why = why_not_loaded(order.runtime)
    if why is None:
        return []
    if order.test is not None:
        raise BuildFailed(f"a test runs under the livepatch, and the runtime {order.runtime} cannot be loaded there:"
                          f" {why}")
    return [f"nothing is proved in {root.name}, where the runtime {order.runtime} cannot be loaded: {why}"]


def _inside(order: Order) -> tuple[Order, list[str]]:
    """(the order with names of files that no symbolic link of another system leads astray, what it reads)."""
    debian = order.debian
    readable = []
    if debian is not None and (os.path.isfile(os.path.join(debian, "debian", "rules")) or debian.endswith(".dsc")):
        debian = _real(debian)
        readable.append(os.path.dirname(debian) if debian.endswith(".dsc") else debian)
    order = order._replace(
        debian=debian,
        source=_real(order.source) if order.source is not None else None,
        srpm=_real(order.srpm) if order.srpm is not None else None,
        diff=tuple(_real(diff) if os.path.isfile(diff) else diff for diff in order.diff),
        runtime=_real(order.runtime) if order.runtime is not None else None,
    )
    readable += [path for path in (order.source, order.srpm, order.runtime) if path is not None]
    readable += [diff for diff in order.diff if os.path.isabs(diff)]
    return order, readable


def _real(path: str) -> str:
    """An absolute path through no symbolic link; its last component stays, since reports name it."""
    directory, name = os.path.split(os.path.abspath(path))
    return os.path.join(os.path.realpath(directory), name)


class _Delivery:
    """Writes what was built in roots to where it is wanted."""

    def __init__(self, output: str, check: bool) -> None:
        self.output = output
        self.check = check
        # {path: the target that was delivered there, and where it was built}
        self.made: dict[str, tuple[dict[str, Any], str]] = {}

    def _final(self, staged: str) -> str:
        if self.output.endswith(".ulp") and not os.path.isdir(self.output):
            return self.output
        return os.path.join(self.output, os.path.basename(staged))

    def left(self, directory: str) -> list[str]:
        """Where livepatches are that this root made earlier."""
        names = sorted(os.listdir(directory)) if os.path.isdir(directory) else []
        return [path for path in map(self._final, names) if path.endswith(".ulp") and os.path.isfile(path)]

    def deliver(self, part: Part, staged: str) -> Part:
        """The part with its livepatches where they are wanted, or why they can't be there."""
        if part.result is None:
            return part._replace(error=str(part.error).replace(staged, self.output))
        try:
            return part._replace(result=self._delivered(part.result))
        except UlpError as error:
            return part._replace(result=None, error=error.args[0])

    def _delivered(self, result: BuildResult) -> BuildResult:
        changed = False
        before = after = ""
        fields = dict(result.fields, targets=[], warnings=list(result.fields["warnings"]))
        fields["left"] = [path for path in map(self._final, fields["left"]) if os.path.isfile(path)]
        for target in result.fields["targets"]:
            path = None if target["path"] is None else self._final(target["path"])
            mine: dict[str, Any] = {}
            if path in self.made:
                other, where = self.made[path]
                fields["warnings"].append(f"{fields['built_in']} builds the very {target['name']} that {where} does;"
                                          " one livepatch is for both")
                mine = {"patch_id": other["patch_id"], "sha256": other["sha256"]}
            elif path is not None:
                data = read_file(target["path"])
                about = read_file(page_path(target["path"]))
                before += shown(path)
                after += shown_livepatch(data, path)
                changed = write_output(path, data, self.check) or changed
                changed = write_output(page_path(path), about, self.check) or changed
                self.made[path] = target, fields["built_in"]
            fields["targets"].append(dict(target, path=path, **mine))
        return BuildResult(fields, changed, before, after)
