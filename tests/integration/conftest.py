# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the integration tests: libraries in every variant, and victims that must end well."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Callable, Iterator, Sequence

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from harness.blocked import version_patch
from harness.command import PreforkedUlp, Ulp
from harness.cycles import Cycles
from harness.library import Build, Hazard
from harness.livepatch import Livepatch, Repeated
from harness.pair import Pair
from harness.paths import COMMAND, RUNTIME, TRM
from harness.ran import Ran
from harness.variant import USUAL, Variant, chosen, every_variant, of_nobody_prepared
from harness.victim import Victim

from ansible_collections.libpulp.livepatch.plugins.module_utils.defaults import DEBUG_LOG


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--every-variant", action="store_true",
                     help="run each hazard test in every mode, at every level, with every compiler")
    parser.addoption("--counted", action="store_true", help="run only the tests that count cycles")
    parser.addoption("--cycles", type=int, default=150,
                     help="apply/revert cycles of the stress test in each mode; other tests make a part of that")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Ran())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for name, variants in (("variant", every_variant()), ("mode_variant", list(USUAL))):
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, variants, ids=[variant.name for variant in variants], scope="session")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what was not asked for, and the variants that a normal run does not choose: see harness/variant.py."""
    if not config.getoption("--every-variant"):
        choose_variants(config, items)
    if config.getoption("--counted"):
        keep(config, items, lambda item: "cycles" in getattr(item, "fixturenames", ()))


def choose_variants(config: pytest.Config, items: list[pytest.Item]) -> None:
    hazards: dict[Path, dict[tuple, list[pytest.Item]]] = {}
    for item in items:
        parameters = dict(item.callspec.params) if hasattr(item, "callspec") else {}
        if parameters.pop("variant", None):
            test = (item.originalname, *sorted(parameters.items()))
            hazards.setdefault(item.path, {}).setdefault(test, []).append(item)
    left_out = {
        item
        for path, tests in hazards.items()
        for position, variants in enumerate(tests.values())
        for item in variants
        if item.callspec.params["variant"] not in chosen(position, len(tests)) | in_stock_mode(path, position)
    }
    keep(config, items, lambda item: item not in left_out)


def in_stock_mode(path: Path, position: int) -> set[Variant]:
    """The variant in stock mode of the test at ``position`` of a hazard's file, if it has one in a normal run."""
    return {of_nobody_prepared(path.stem.partition("hazard_")[2])} if position == 0 else set()


def keep(config: pytest.Config, items: list[pytest.Item], wanted: Callable[[pytest.Item], bool]) -> None:
    """Leave all but the ``wanted`` tests out of this run."""
    config.hook.pytest_deselected(items=[item for item in items if not wanted(item)])
    items[:] = [item for item in items if wanted(item)]


@pytest.fixture(scope="session", autouse=True)
def built() -> None:
    """The tests need what ``make build`` makes: without it they fail, they do not skip."""
    missing = [str(path) for path in (COMMAND, RUNTIME, TRM) if not path.exists()]
    if missing:
        pytest.fail("run `make build` first: {} not there".format(", ".join(missing)))


@pytest.fixture(scope="session")
def debug_log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The file to which the command and the modules append the tracebacks that they catch."""
    path = tmp_path_factory.mktemp("debug") / "log"
    path.touch(mode=0o666)
    # Services that are not root's append to it, too.
    path.parent.chmod(0o755)
    path.chmod(0o666)
    os.environ[DEBUG_LOG] = str(path)
    yield path
    del os.environ[DEBUG_LOG]


@pytest.fixture(autouse=True)
def no_fault(debug_log: Path) -> Iterator[None]:
    """An exception that nobody expected is a fault of ours, even if it ends in the row of a process and no test looks.

    A test that makes one empties the file.
    """
    debug_log.write_text("")
    yield
    text = debug_log.read_text()
    if text:
        pytest.fail(f"an exception that nobody expected was caught:\n{text}")


@pytest.fixture(scope="session")
def ulp() -> Ulp:
    """The command as a user runs it."""
    return Ulp()


@pytest.fixture(scope="session")
def preforked(built: None, debug_log: Path) -> Iterator[Ulp]:
    """The same for tests that run it often."""
    command = PreforkedUlp()
    yield command
    command.close()


# What each folder of tests/targets is built from, where it is not just library.c.
SOURCES: dict[str, Sequence[str]] = {
    "exceptions": ("library.cc",),
    "cancel": ("library.c", "destructor.cc"),
}
BUILDS = {"two_libraries": Pair}
FLAGS: dict[str, Sequence[str]] = {"arguments": ("-mavx", "-Wno-psabi"), "async_cancel": ("-fexceptions",)}


@pytest.fixture(scope="session")
def hazards(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Hazard]:
    """Gives the hazard of a folder of tests/targets; built once a session."""
    known: dict[str, Hazard] = {}

    def hazard(name: str) -> Hazard:
        if name not in known:
            known[name] = Hazard(name, tmp_path_factory.mktemp(name), SOURCES.get(name, ("library.c",)),
                                 FLAGS.get(name, ()), BUILDS.get(name))
        return known[name]

    return hazard


@pytest.fixture
def target(hazards: Callable[[str], Hazard], preforked: Ulp) -> Callable[[str, Variant], Build]:
    """Gives the library of a folder of tests/targets in one variant."""

    def build(name: str, variant: Variant) -> Build:
        return hazards(name).build(variant, preforked)

    return build


@pytest.fixture
def build(target: Callable[[str, Variant], Build]) -> Build:
    """The library that tests of the command patch; a file may choose another one, or another variant."""
    return target("blocked", USUAL[0])


@pytest.fixture
def ulp_file(build: Build) -> Path:
    """A livepatch for it, with which version is 2."""
    return version_patch(build)


@pytest.fixture
def cycles(request: pytest.FixtureRequest) -> Cycles:
    """Counts the apply/revert cycles of one test."""
    return Cycles(request)


@pytest.fixture
def livepatch(preforked: Ulp) -> Callable[[Path], Livepatch]:
    def make(ulp_file: Path) -> Livepatch:
        return Livepatch(preforked, ulp_file)

    return make


@pytest.fixture
def repeated(preforked: Ulp) -> Iterator[Callable[[Path], Repeated]]:
    """The same for tests that apply and revert hundreds of times."""
    made: list[Repeated] = []

    def make(ulp_file: Path) -> Repeated:
        made.append(Repeated(preforked, ulp_file))
        return made[-1]

    yield make
    for livepatch in made:
        livepatch.close()


@pytest.fixture
def start(request: pytest.FixtureRequest) -> Iterator[Callable[..., Victim]]:
    """Starts victims, and at the end of the test has every one end by itself, or the test fails."""
    victims: list[Victim] = []

    def launch(build: Build, source: str = "app.c", flags: Sequence[str] = (), wrap: Sequence[object] = (),
               **options) -> Victim:
        options.setdefault("preload", build.variant.preload)
        victim = Victim([*wrap, build.program(source, flags)], libraries=[build.directory], **options)
        victims.append(victim)
        return victim

    yield launch
    failures = []
    for victim in victims:
        if victim.process.stdin.closed:
            continue  # the test ended it itself
        try:
            victim.finish()
        except AssertionError as error:
            victim.kill()
            failures.append(str(error))
    if failures:
        pytest.fail("\n".join(failures))
