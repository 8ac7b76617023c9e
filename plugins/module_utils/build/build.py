# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a source, a build command and diffs to livepatches: the steps in order."""

from __future__ import annotations

import hashlib
import json
import os
from types import MappingProxyType
from typing import Any, Callable, Mapping

from ..atomic_file import read_file, replace_file
from ..elf.image import ElfImage
from ..errors import BadElf, FileProblem, UlpError
from ..livepatch.labels import merged, parse_label
from ..livepatch.pack import shown_livepatch
from ..named_tuple import NamedTuple
from ..version import VERSION
from .errors import BuildFailed
from .left_behind import left_behind, output_path, sentence_on
from .page import page
from .refusals import TRIAL, Refusal, Refusals
from .target_build import (
    Candidate,
    Made,
    Reached,
    candidates,
    contents_digest,
    foreign_targets,
    make,
    reached_targets,
)
from .trial import NotApplied, Proof, prove
from .under_test import run_under
from .work_tree import Built, Recipe, WorkTree, relevant_environment, source_digest

_STATE = "last.json"
# So many digits of a build ID tell builds apart.
_DIGITS = 8


class Request(NamedTuple):
    """What to build.

    ``diffs`` are paths, ``strip`` as for ``patch -p``; ``targets``, names of linked files or sonames (empty: all shared
    libraries that change, or all programs where there is none); ``running``, the file that runs, for one target;
    ``allow``, names or patterns of what may be refused; ``anew``, such of new variables that do not go on with those of
    an earlier livepatch; ``runtime``, libpulp.so for the proof, None: no proof;
    ``output``, a directory, or a file ``*.ulp`` for one target; ``origin``, what the metadata say of a source package;
    ``test``, a command to run under the livepatch; ``check``: build, and write nothing to ``output``; ``tell_apart``:
    there are livepatches for other builds of the targets, so that each is called by its target's build ID, too;
    ``built_in`` says where it is built, None: on the build host itself.
    """

    recipe: Recipe
    diffs: list[str]
    output: str
    work: str
    strip: int = 1
    targets: tuple[str, ...] = ()
    running: str | None = None
    allow: tuple[str, ...] = ()
    guards: tuple[str, ...] = ()
    anew: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    runtime: str | None = None
    origin: Mapping[str, str] = MappingProxyType({})
    test: str | None = None
    check: bool = False
    tell_apart: bool = False
    built_in: str | None = None


class TargetResult(NamedTuple):
    """What came of one target; ``made`` and ``proof`` are None where it was refused, or not proved.

    ``stem`` is what its livepatch is called, without ``.ulp``.
    """

    name: str
    stem: str
    path: str | None
    made: Made | None
    refusals: Refusals
    proof: Proof | None


class BuildResult(NamedTuple):
    """What came of a build.

    ``fields`` is the report as a JSON-able dict; ``changed``, whether a file was written, or would be; ``before`` and
    ``after`` are the metadata of the livepatches as text, for a diff.
    """

    fields: dict[str, Any]
    changed: bool
    before: str
    after: str

    @property
    def refused(self) -> bool:
        """Whether there is anything that was not built."""
        return bool(self.fields["refused"])


def build(request: Request, progress: Callable[[str], None]) -> BuildResult:
    """Build livepatches.

    :param progress: is called with each step, a phrase.
    :raises UlpError: a step fails; what can't be live-patched is in the result instead.  The sentence names livepatches
        of an earlier build that lie where this one's would be.
    """
    if not request.diffs:
        raise BuildFailed("there is no diff to build a livepatch from")
    fingerprint = _fingerprint(request)
    tree = WorkTree(request.work, request.recipe)
    state = _state(tree, request)
    if state is not None and state["fingerprint"] == fingerprint and _stands(state["report"]):
        progress("nothing has changed since the last run")
        last = state["report"]
        same = "".join(shown(target["path"]) for target in last["targets"])
        return BuildResult(last, _write_pages(last, request), same, same)
    last = state["report"] if state is not None else None
    try:
        return _build(request, tree, fingerprint, last, progress)
    except UlpError as error:
        left = left_behind(request.output, last, ())
        if left:
            # Where the sentence ends with the last lines of a log, this must not seem to be one of them.
            sentences = [error.args[0], sentence_on(left)]
            error.args = ("; ".join(reversed(sentences) if "\n" in error.args[0] else sentences),)
        raise


def _build(request: Request, tree: WorkTree, fingerprint: str, last: dict[str, Any] | None,
           progress: Callable[[str], None]) -> BuildResult:
    built = tree.build([os.path.abspath(diff) for diff in request.diffs], request.strip, progress)
    os.makedirs(tree.path("objects", "taken"), exist_ok=True)
    progress("compare the objects")
    common = Refusals(request.allow)
    chosen, left = _chosen(request, tree, built, common)
    left += [f"{name} of the same build is for another machine, and gets no livepatch" for name in foreign_targets(
        tree, built)]
    results = []
    for candidate in chosen:
        results.append(_one(candidate, request, tree, built, common, len(chosen) > 1, progress))
    fields = _report(request, built.applied.files, [*built.applied.warnings, *left], results, common)
    if fields["refused"]:
        fields["left"] = left_behind(request.output, last, [result.stem for result in results if result.path is None])
    fields["test"] = _test(request, tree, chosen, results, progress)
    if fields["test"] and fields["test"]["reached"] == 0:
        fields["warnings"].append("none of the new code was executed in a process of the test, which says nothing about"
                                  " the fix itself")
    changed = _write_pages(fields, request)
    before = after = ""
    for result in results:
        if result.path is not None and result.made is not None:
            before += shown(result.path)
            after += shown_livepatch(result.made.data, result.path)
            changed = write_output(result.path, result.made.data, request.check) or changed
    if not request.check:
        with open(tree.path(_state_file(request)), "w", encoding="utf-8") as stream:
            json.dump({"fingerprint": fingerprint, "report": fields}, stream)
    return BuildResult(fields, changed, before, after)


def shown(path: str) -> str:
    """The metadata of the livepatch at a path as text; empty where there is none yet."""
    return shown_livepatch(read_file(path) if os.path.isfile(path) else None, path)


def _test(request: Request, tree: WorkTree, chosen: list[Candidate], results: list[TargetResult],
          progress: Callable[[str], None]) -> dict[str, Any] | None:
    """Run the test that was asked for under all livepatches; its verdict as a dict."""
    if request.test is None or request.runtime is None or not all(result.path for result in results) or not results:
        return None
    progress("run the test under the livepatch")
    tree.restore()
    livepatches = []
    for result in results:
        path = tree.path("objects", f"{result.name}.test.ulp")
        with open(path, "wb") as stream:
            stream.write(result.made.data if result.made is not None else b"")
        livepatches.append(path)
    libraries = [] if request.running else list(dict.fromkeys(
        os.path.dirname(candidate.link.output) for candidate in chosen))
    return run_under(livepatches, request.test, tree.path("tree", request.recipe.inside), libraries, request.runtime,
                     tree.path("objects"), tree.limits())._asdict()


def _write_pages(fields: dict[str, Any], request: Request) -> bool:
    """Write the page of each livepatch; whether one changes."""
    changed = False
    for target in fields["targets"]:
        if target["path"] is not None:
            changed = write_output(page_path(target["path"]), page(fields, target).encode(), request.check) or changed
    return changed


def page_path(path: str) -> str:
    """The path of the page about the livepatch at ``path``."""
    return os.path.splitext(path)[0] + ".html"


def write_output(path: str, data: bytes, check: bool) -> bool:
    """Write a file, unless that changes nothing, or this is a check; whether it changes, or would."""
    if os.path.isfile(path) and read_file(path) == data:
        return False
    if not check:
        try:
            os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        except OSError as error:
            raise FileProblem("create", os.path.dirname(path), error) from error
        replace_file(path, data)
    return True


def _one(candidate: Candidate, request: Request, tree: WorkTree, built: Any, common: Refusals, several: bool,
         progress: Callable[[str], None]) -> TargetResult:
    path = request.running or tree.product_before(candidate.link.output)
    running = ElfImage.open(path)
    name = running.soname or os.path.basename(candidate.link.output)
    refusals = Refusals(request.allow)
    for refusal in [*common.refused, *common.allowed]:
        refusals.add(*refusal)
    stem = name
    if request.tell_apart:
        stem += f"-{running.build_id.hex()[:_DIGITS]}" if running.build_id else "-without-build-id"
    progress(f"make the livepatch for {name}")
    made = make(candidate, tree, built, running, _labels(request, built.applied.files, candidate),
                request.guards, request.anew, refusals)
    if made is None:
        return TargetResult(name, stem, None, None, refusals, None)
    output = _output(request, stem, several)
    proof = None
    if request.runtime is not None and not running.is_program:
        progress(f"prove it on a process that has loaded {name}")
        trial = tree.path("objects", os.path.basename(output))
        with open(trial, "wb") as stream:
            stream.write(made.data)
        try:
            proof = prove(trial, running.name, request.runtime, _directories(candidate, tree, running))
        except NotApplied as error:
            refusals.add(TRIAL, name, str(error))
            return TargetResult(name, stem, None, None, refusals, None)
    return TargetResult(name, stem, output, made, refusals, proof)


def _directories(candidate: Candidate, tree: WorkTree, running: ElfImage) -> list[str]:
    """Where the target may find libraries of the same build, and whoever needs the target finds what runs."""
    first = tree.path("objects", "running")
    os.makedirs(first, exist_ok=True)
    name = os.path.join(first, running.soname or os.path.basename(running.name))
    if os.path.lexists(name):
        os.unlink(name)
    os.symlink(os.path.abspath(running.name), name)
    found = [first, os.path.dirname(tree.product_before(candidate.link.output))]
    for word in candidate.link.arguments:
        path = os.path.normpath(os.path.join(candidate.link.directory, word))
        if ".so" in os.path.basename(word) and path.startswith(tree.path("tree") + os.sep) and os.path.isfile(path):
            found.append(os.path.dirname(tree.product_before(path)))
    return list(dict.fromkeys(found))


def _output(request: Request, name: str, several: bool) -> str:
    path = output_path(request.output, name)
    if several and path == request.output:
        raise BuildFailed(f"the diff changes several libraries; name a directory instead of {request.output}")
    return path


def _chosen(request: Request, tree: WorkTree, built: Built, common: Refusals) -> tuple[list[Candidate], list[str]]:
    """(the targets to build livepatches for, warnings of others that may change as well)."""
    images = _images(reached_targets(tree, built), tree)
    names = list(request.targets)
    if not names and request.running:
        running = ElfImage.open(request.running)
        names = [running.soname or os.path.basename(request.running)]
    # Comparing takes as long as compiling: what nobody asks for is not compared.
    asked = [each for each, image in images if (
        {image.soname, os.path.basename(each.link.output)} & set(names) if names else not image.is_program)]
    others = [each for each, _image in images if each not in asked]
    chosen = candidates(asked, tree, built, common)
    if not chosen and not common.refused:
        changed = candidates(others, tree, built, common)
        if names and not common.refused:
            have = ", ".join(sorted(os.path.basename(each.link.output) for each in changed))
            raise BuildFailed(f"the diff changes nothing in {', '.join(names)}"
                              + (f"; it changes {have}" if have else ""))
        if not changed and not common.refused:
            raise BuildFailed("the diff changes no code or data of a library or program that was linked")
        chosen, others = ([] if names else changed), []
    if request.running and len(chosen) > 1:
        raise BuildFailed("only one library can be built for with --running; name it with --target")
    left = sorted(os.path.basename(each.link.output) for each in others)
    return chosen, [f"the diff changes files that {name} is made from as well, and no livepatch is made for it; name it"
                    " with --target" for name in left if chosen]


def _images(reached: list[Reached], tree: WorkTree) -> list[tuple[Reached, ElfImage]]:
    """Linked files as they were before, each once."""
    images: list[tuple[Reached, ElfImage]] = []
    seen = set()
    for each in reached:
        try:
            image = ElfImage.open(tree.product_before(each.link.output))
        except (BadElf, FileProblem):
            # An object that others were linked from, or something that the build has removed.
            continue
        # The same library may be linked twice: where it is built, and where it is to be installed.
        identity = image.build_id or each.link.output.encode()
        if identity not in seen:
            seen.add(identity)
            images.append((each, image))
    return images


def _labels(request: Request, files: list[str], candidate: Candidate) -> dict[str, object]:
    """What the metadata say of where a livepatch comes from."""
    compilers = sorted({unit.compiler for unit in candidate.after.units.values()})
    labels: dict[str, object] = {"built_with": f"ulp {VERSION}", "build": request.recipe.command, "sources": files,
                                 "compilers": compilers,
                                 "diffs": {os.path.basename(diff): contents_digest(diff) for diff in request.diffs}}
    if request.origin:
        labels["source_package"] = dict(request.origin)
    return merged(labels, map(parse_label, request.labels))


def _report(request: Request, files: list[str], warnings: list[str], results: list[TargetResult],
            common: Refusals) -> dict[str, Any]:
    refused = {refusal: None for refusals in [common, *(result.refusals for result in results)]
               for refusal in refusals.refused}
    patterns = set(request.allow)
    for refusals in [common, *(result.refusals for result in results)]:
        patterns &= set(refusals.unused)
    unused = [f"{pattern} is allowed, but nothing of that name was refused" for pattern in sorted(patterns)]
    return {
        "sources": files,
        "warnings": [*warnings, *unused],
        "refused": [_refusal_fields(refusal) for refusal in refused],
        "targets": [_target_fields(result, merged({}, map(parse_label, request.labels))) for result in results],
        "left": [],
        "built_in": request.built_in,
    }


def _refusal_fields(refusal: Refusal) -> dict[str, Any]:
    return {"kind": refusal.kind, "name": refusal.name, "reason": refusal.what,
            "can_be_allowed": refusal.can_be_allowed}


def _target_fields(result: TargetResult, given: dict[str, Any]) -> dict[str, Any]:
    """
    :param given: the labels that the author has given.
    """
    fields: dict[str, Any] = {
        "name": result.name,
        "path": result.path,
        "refused": [_refusal_fields(refusal) for refusal in result.refusals.refused],
        "allowed": [_refusal_fields(refusal) for refusal in result.refusals.allowed],
        "proof": result.proof.steps if result.proof else None,
    }
    made = result.made
    if made is not None:
        warnings = list(made.warnings)
        if result.proof is not None and result.proof.refusals:
            warnings.append(f"{result.proof.refusals} trial processes had no free memory where a jump in {result.name}"
                            " would lead, and took no livepatch, before one did: some processes will not either")
        fields.update(
            patch_id=made.patch_id,
            labels=given,
            sha256=hashlib.sha256(made.data).hexdigest(),
            build_id=made.target.build_id,
            functions=[{"name": each.old.name.partition("@")[0], "source": each.unit.source, "why": each.why}
                       for each in made.replaced],
            bindings=[{"name": binding.name, "kind": binding.kind, "version": binding.version}
                      for binding in made.target.bindings],
            copied=made.copied,
            medium=made.medium,
            guards=[guard.name for guard in made.target.guards],
            variables=[{"name": variable.name, "size": variable.size, "start": variable.start,
                        "obstacle": variable.obstacle} for variable in made.target.variables],
            layouts=[{"kind": change.kind, "name": change.name, "differences": change.differences,
                      "sources": change.units, "harmless": change.harmless, "users": change.users,
                      "outliving": change.outliving} for change in made.layouts],
            warnings=warnings,
        )
    return fields


def _fingerprint(request: Request) -> str:
    """A digest of all that a build depends on."""
    digest = hashlib.sha256(repr((
        VERSION, request._replace(recipe=request.recipe._replace(seconds=0, gibibytes=0), origin=dict(request.origin),
                                  check=False),
        source_digest(request.recipe.source),
        [contents_digest(diff) for diff in request.diffs if os.path.isfile(diff)],
        contents_digest(request.running) if request.running else None,
        contents_digest(request.runtime) if request.runtime else None, sorted(relevant_environment().items()),
    )).encode())
    return digest.hexdigest()


def _state_file(request: Request) -> str:
    """The name of the file that tells of the last run: several files that run share one tree, and one build of it."""
    if not request.tell_apart or request.running is None:
        return _STATE
    return f"last-{hashlib.sha256(request.running.encode()).hexdigest()[:12]}.json"


def _state(tree: WorkTree, request: Request) -> dict[str, Any] | None:
    """``fingerprint`` and ``report`` of the last run in this tree; None where there was none that can be read."""
    try:
        state = json.loads(read_file(tree.path(_state_file(request))))
        report = state["report"]
        return {"fingerprint": state["fingerprint"], "report": {
            **report, "targets": [dict(target, path=target["path"]) for target in report["targets"]],
            "left": report.get("left", [])}}
    except (FileProblem, ValueError, KeyError, TypeError):
        return None


def _stands(report: dict[str, Any]) -> bool:
    """Whether the livepatches that a report tells of are still there."""
    try:
        return all(target["path"] is not None and contents_digest(target["path"]) == target["sha256"]
                   for target in report["targets"])
    except (FileProblem, KeyError):
        return False


def default_work_directory(source: str) -> str:
    """Where a source is built unless told: in the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    name = os.path.basename(os.path.abspath(source)) or "source"
    place = hashlib.sha256(os.path.abspath(source).encode(errors="surrogateescape")).hexdigest()[:12]
    return os.path.join(cache, "ulp", "build", f"{name}-{place}")
