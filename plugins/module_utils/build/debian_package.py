# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Source packages of Debian: fetched, unpacked, and built by their own ``debian/rules``.

The machine's own apt is asked where the archives are, and left as it is: lists of source packages are kept apart.
Sources: Debian Policy, sections 4.9 (``debian/rules``) and 7.7 (build dependencies); dpkg-source(1), apt.conf(5).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from typing import Callable

from ..atomic_file import read_file
from ..errors import FileProblem
from .commands import run
from .errors import BuildFailed
from .source_package import SourcePackage, apply_patch, chosen_patches, equal_times, unpacked

_PROFILES = "nocheck nodoc"
_NAMED = re.compile(r"([a-z0-9][a-z0-9+.-]+)(?:=([A-Za-z0-9.+:~-]+))?")
# Releases of dpkg differ in the first letter.
_MISSING = re.compile(r"[Uu]nmet build (?:dependencies|conflicts): (.*)")
# What apt prints of a file: its address in quotes, its name, its size, its digest.
_DSC = re.compile(r"^'[^']*' (\S+\.dsc) ", re.MULTILINE)
_PATCHES = os.path.join("debian", "patches")


def debian_package(what: str, leave_out: tuple[str, ...], work: str, progress: Callable[[str], None],
                   install: str | None = None) -> SourcePackage:
    """A source package of Debian, ready to be built.

    :param what: ``NAME`` or ``NAME=VERSION``, for apt; the path of a ``.dsc``; or an unpacked source package.
    :param leave_out: names of patches of its series to build it without.
    :param work: directory for what is fetched and unpacked.
    :param install: the command that installs packages in the root that was entered, without their names; None: this is
        the build host itself.
    :raises BuildFailed: there is no such package or patch, a patch does not apply without another, or packages that
        it is built with are missing.
    """
    if os.path.isfile(os.path.join(what, "debian", "rules")):
        source, origin = os.path.abspath(what), "a directory, whose contents nobody has signed"
        key = _times(source)
    elif what.endswith(".dsc"):
        source, origin = os.path.abspath(what), "a file whose signature was not verified"
        key = read_file(source).decode("utf-8", "replace")
    else:
        source, origin = _fetched(what, os.path.join(work, "fetched"), progress), "apt, which verified its signature"
        key = read_file(source).decode("utf-8", "replace")
    directory = unpacked(os.path.join(work, "source"), repr((source, key, leave_out)),
                         lambda path: _unpack(source, path, leave_out, progress))
    name, version = _identity(directory)
    _require_build_dependencies(directory, f"{name} {version}", install)
    left_out = chosen_patches(leave_out, _series(directory + os.sep + _PATCHES, "series.before"), name)
    return SourcePackage(
        name, version, directory, _command(), [os.path.join(directory, _PATCHES, patch) for patch in left_out],
        {"package": name, "version": version, "from": origin,
         **({"without": ", ".join(left_out)} if left_out else {})})


def _command() -> str:
    options = f"nocheck nodoc parallel={os.cpu_count() or 1}"
    return (f'DEB_BUILD_OPTIONS="{options} $DEB_BUILD_OPTIONS" DEB_BUILD_PROFILES="{_PROFILES} $DEB_BUILD_PROFILES"'
            " dpkg-buildpackage --no-sign --build=any --no-pre-clean --rules-target=build-arch")


def _identity(directory: str) -> tuple[str, str]:
    """(name, version) from debian/changelog."""
    output = run(["dpkg-parsechangelog", "-l", os.path.join(directory, "debian", "changelog"), "-S", "Source"],
                 "read debian/changelog", "dpkg-dev").strip()
    version = run(["dpkg-parsechangelog", "-l", os.path.join(directory, "debian", "changelog"), "-S", "Version"],
                  "read debian/changelog", "dpkg-dev").strip()
    return output, version


# ------------------------------------------------------------------- fetch


def _fetched(what: str, directory: str, progress: Callable[[str], None]) -> str:
    """The path of the .dsc of a package that apt knows."""
    match = _NAMED.fullmatch(what)
    if match is None:
        raise BuildFailed(f"{what} is neither the name of a Debian source package, with or without =VERSION, nor a .dsc"
                          " file, nor a directory with debian/rules")
    name, version = match.groups()
    if version is not None:
        path = os.path.join(directory, f"{name}_{version.partition(':')[2] or version}.dsc")
        if os.path.isfile(path):
            return path
    progress(f"fetch the source package {what}")
    options = {
        "Dir::Etc::sourcelist": os.path.join(directory, "sources.list"),
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State::lists": os.path.join(directory, "lists"),
        "Dir::Cache": directory,
        "Dir::Cache::archives": os.path.join(directory, "archives"),
    }
    apt = _apt(options)
    try:
        for each in ("lists/partial", "archives/partial"):
            os.makedirs(os.path.join(directory, each), exist_ok=True)
        with open(os.path.join(directory, "sources.list"), "w", encoding="utf-8") as stream:
            stream.write("\n".join(_source_lines(os.path.join(directory, "lists.own"))) + "\n")
    except OSError as error:
        raise FileProblem("write", directory, error) from error
    run([*apt, "update"], "read the lists of source packages", "apt")
    # Where it lies already, apt does not name it.
    listed = run([*apt, "source", "--download-only", "--print-uris", what], f"look for the source package {what}",
                 "apt", os.path.join(directory, "archives"))
    found = _DSC.findall(listed)
    if len(found) != 1:
        raise BuildFailed(f"apt does not tell which .dsc file the source package {what} has: {listed.strip()[-400:]}")
    run([*apt, "source", "--download-only", what], f"fetch the source package {what}", "apt", directory)
    return os.path.join(directory, found[0])


def _apt(options: dict[str, str]) -> list[str]:
    """The first words of a command of apt-get."""
    options = {**options, "Acquire::Languages": "none", "Acquire::Retries": "3"}
    if os.geteuid() == 0:
        # The user _apt may not enter a private directory.
        options["APT::Sandbox::User"] = "root"
    return ["apt-get", "-q", *[word for option in options.items() for word in ("-o", "=".join(option))]]


def _source_lines(scratch: str) -> list[str]:
    """A line for each of Debian's archives that the machine gets packages from.

    :param scratch: a directory for the lists, where the machine has not kept its own, as images and new roots have not.
        Without lists apt does not tell which archives are Debian's.
    """
    lines = _archives(["apt-get"])
    if not lines:
        apt = _apt({"Dir::State::lists": scratch})
        os.makedirs(os.path.join(scratch, "partial"), exist_ok=True)
        run([*apt, "update"], "ask the archives which are Debian's", "apt")
        lines = _archives(apt)
        shutil.rmtree(scratch)
    if not lines:
        raise BuildFailed("apt knows no archive of Debian to fetch a source package from; name a .dsc file or an"
                          " unpacked source package instead")
    return lines


def _archives(apt: list[str]) -> list[str]:
    output = run([*apt, "indextargets", "--format", "$(REPO_URI) $(CODENAME) $(COMPONENT) $(ORIGIN)",
                  "Created-By: Packages"], "ask apt for its archives", "apt")
    fields = [line.split(None, 3) for line in output.splitlines()]
    return list(dict.fromkeys("deb-src " + " ".join(words[:3]) for words in fields if words[3:] == ["Debian"]))


# ------------------------------------------------------------------ unpack


def _times(directory: str) -> str:
    return repr(sorted((os.path.relpath(os.path.join(place, name), directory),
                        os.lstat(os.path.join(place, name)).st_mtime_ns)
                       for place, _directories, files in os.walk(directory) for name in files))


def _unpack(source: str, directory: str, leave_out: tuple[str, ...], progress: Callable[[str], None]) -> None:
    progress("unpack the source package" if not os.path.isdir(source) else "copy the source package")
    if os.path.isdir(source):
        run(["cp", "-a", "-T", source, directory], f"copy {source}", "coreutils")
        run(["dpkg-source", "--before-build", directory], f"apply the patches of {source}", "dpkg-dev")
    elif not leave_out:
        run(["dpkg-source", "-x", source, directory], f"unpack {source}", "dpkg-dev")
    else:
        run(["dpkg-source", "--skip-patches", "-x", source, directory], f"unpack {source}", "dpkg-dev")
    if not leave_out:
        return
    patches = os.path.join(directory, _PATCHES)
    if not _is_quilt(directory):
        raise BuildFailed(f"{source} has no series of patches that dpkg-source applies (its format is not 3.0 (quilt)),"
                          " so none can be left out")
    file = _series_file(patches)
    series = _series(patches, file)
    left_out = chosen_patches(leave_out, series, os.path.basename(source))
    start = time.time()
    if os.path.isdir(source):
        todo = [(patch, True) for patch in reversed(left_out)]
    else:
        todo = [(patch, False) for patch in series if patch not in left_out]
    for patch, reverse in todo:
        why = apply_patch(directory, os.path.join(patches, patch), reverse)
        if why is not None:
            raise BuildFailed(
                f"the patch {patch} of {os.path.basename(source)} " + (
                    "cannot be taken back, since later ones build on it; leave these out as well"
                    if reverse else f"does not apply without {', '.join(left_out)}; leave it out as well")
                + f" (--without-patch): {why}")
    equal_times(directory, start)
    # What dpkg-source would make good otherwise.
    shutil.rmtree(os.path.join(directory, ".pc"), ignore_errors=True)
    os.rename(os.path.join(patches, file), os.path.join(patches, "series.before"))
    with open(os.path.join(patches, file), "w", encoding="utf-8") as stream:
        stream.write(f"# applied, but for {', '.join(left_out)}\n")


def _is_quilt(directory: str) -> bool:
    try:
        return read_file(os.path.join(directory, "debian", "source", "format")).split() == [b"3.0", b"(quilt)"]
    except FileProblem:
        return False


def _series_file(patches: str) -> str:
    return next((name for name in ("debian.series", "series") if os.path.isfile(os.path.join(patches, name))), "series")


def _series(patches: str, file: str) -> list[str]:
    """The names of the patches, in the order in which they apply."""
    path = os.path.join(patches, file)
    if not os.path.isfile(path):
        return []
    lines = read_file(path).decode("utf-8", "surrogateescape").splitlines()
    return [line.split()[0] for line in lines if line.strip() and not line.lstrip().startswith("#")]


# ------------------------------------------------------------------- build


def required_packages(output: str) -> list[str]:
    """The names of packages that dpkg-checkbuilddeps(1) misses: of alternatives the first, without a version.

    A package that must not be there is none of them.
    """
    wanted = " ".join(re.findall(r"[Uu]nmet build dependencies: (.*)", output))
    relations = re.sub(r"\([^)]*\)|\[[^]]*\]|<[^>]*>", " ", wanted)
    first = re.sub(r"(\|\s*\S+\s*)+", " ", relations)
    return list(dict.fromkeys(word.partition(":")[0] for word in first.split()))


def _require_build_dependencies(directory: str, package: str, install: str | None) -> None:
    # Those of the environment as well, which the build has.
    profiles = ",".join([*_PROFILES.split(), *os.environ.get("DEB_BUILD_PROFILES", "").split()])
    done = subprocess.run(["dpkg-checkbuilddeps", "-B", f"-P{profiles}",
                           os.path.join(directory, "debian", "control")], cwd=directory, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                          env={**os.environ, "LC_ALL": "C"})
    output = done.stdout.decode("utf-8", "replace")
    missing = [found.strip() for found in _MISSING.findall(output)]
    if missing:
        command = (f"as root: apt-get --arch-only -P{profiles} build-dep {directory}" if install is None else
                   f"there: {install} {' '.join(required_packages(output))}")
        raise BuildFailed(
            f"{package} cannot be built here, since packages that it is built with are not installed:"
            f" {', '.join(missing)}; install them {command}")
    if done.returncode:
        raise BuildFailed(f"cannot tell what {package} is built with: {output.strip()[-400:]}")
