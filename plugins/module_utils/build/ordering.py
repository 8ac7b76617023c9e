# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people ask for when they build a livepatch, made into a Request, or refused in one sentence."""

from __future__ import annotations

import os
from typing import Callable

from ..defaults import BUILD_GIBIBYTES
from ..errors import UlpError
from ..livepatch.labels import parse_label
from ..named_tuple import NamedTuple
from .build import Request, default_work_directory
from .debian_package import debian_package
from .installed import installed_library
from .rpm_package import rpm_package
from .work_tree import Recipe


class Order(NamedTuple):
    """The options of ``ulp build`` and of the module ulp_build, under their names.

    ``runtime`` is the path of libpulp.so for the proof, None for no proof; ``build_timeout`` is in seconds,
    ``build_space`` in GiB.
    ``built_in`` says which root it is built in, if any, ``system``, by a digest, what is installed there, and
    ``install`` is the command that installs packages there, without their names.
    """

    output: str
    build_timeout: float
    build_space: float = BUILD_GIBIBYTES
    source: str | None = None
    build: str | None = None
    prepare: str | None = None
    debian: str | None = None
    srpm: str | None = None
    diff: tuple[str, ...] = ()
    without_patch: tuple[str, ...] = ()
    strip: int = 1
    target: tuple[str, ...] = ()
    running: str | None = None
    allow: tuple[str, ...] = ()
    guard: tuple[str, ...] = ()
    anew: tuple[str, ...] = ()
    label: tuple[str, ...] = ()
    work: str | None = None
    runtime: str | None = None
    as_root: bool = False
    test: str | None = None
    built_in: str | None = None
    system: str = ""
    install: str | None = None


def require_user(order: Order) -> None:
    """See that whoever builds may.

    :raises UlpError: it is root, and the order does not say that it may be.
    """
    if os.geteuid() == 0 and not order.as_root:
        raise UlpError(
            "a build runs whatever commands the source has, and should not run as root; run it as another user, or say"
            " --as-root where that is meant, in a container made for it, say")


def work_directory(order: Order) -> str:
    """Where an order is built, an absolute path: programs of the build have other working directories."""
    return os.path.abspath(order.work or default_work_directory(str(order.source or order.debian or order.srpm)))


def request_for(order: Order, progress: Callable[[str], None], check: bool = False) -> Request:
    """The Request for an Order; a source package is unpacked for it.

    :param check: write no livepatch.
    :raises UlpError: something is missing, or does not go together.
    """
    require_user(order)
    if order.runtime is not None and not os.path.isfile(order.runtime):
        raise UlpError(
            f"the runtime {order.runtime} does not exist, and without it no livepatch can be proved; name another with"
            " --runtime, or leave the proof out with --no-proof")
    if order.test is not None and order.runtime is None:
        raise UlpError("a test runs under the livepatch, which needs the runtime: leave out --no-proof")
    for label in order.label:
        # Before anything is built.
        parse_label(label)
    work = work_directory(order)
    recipe, diffs, origin = _source(order, work, progress)
    return Request(
        recipe=recipe._replace(system=order.system),
        diffs=diffs,
        output=order.output,
        work=work,
        strip=order.strip,
        targets=order.target,
        running=installed_library(order.running, list(order.target)) if order.running else None,
        allow=order.allow,
        guards=order.guard,
        anew=order.anew,
        labels=order.label,
        runtime=order.runtime,
        origin=origin,
        test=order.test,
        check=check,
        built_in=order.built_in,
    )


def _source(order: Order, work: str, progress: Callable[[str], None]) -> tuple[Recipe, list[str], dict[str, str]]:
    """(Recipe, paths of the diffs, what the metadata say of the source package)."""
    if order.source is not None:
        if order.build is None:
            raise UlpError(f"--build is missing: the command that builds {order.source}")
        if order.without_patch:
            raise UlpError("--without-patch is for a source package; of a source tree name the fix with --diff")
        if not order.diff:
            raise UlpError("--diff is missing: the fix to make a livepatch of")
        return Recipe(os.path.abspath(order.source), order.build, order.prepare or "",
                      order.build_timeout, order.build_space), list(order.diff), {}
    if order.build is not None or order.prepare is not None:
        raise UlpError("a source package is built by its own rules; leave out --build and --prepare, or unpack it and"
                       " name the directory with --source")
    if not order.diff and not order.without_patch:
        raise UlpError("the fix is missing: name it with --diff, or one of the package's own patches with"
                       " --without-patch")
    if order.srpm is not None:
        package = rpm_package(order.srpm, order.without_patch, work, progress)
    else:
        package = debian_package(str(order.debian), order.without_patch, work, progress, order.install)
    diffs = [package.patch(diff) for diff in order.diff] or package.left_out
    return Recipe(package.directory, package.command, "", order.build_timeout, order.build_space,
                  once=True, inside=package.inside), diffs, package.origin
