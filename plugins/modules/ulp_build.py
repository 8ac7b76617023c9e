#!/usr/bin/python
# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ulp_build
short_description: Make a livepatch from a source and a diff
version_added: 1.1.0
description:
  - Builds a source before and after a diff, replaces the functions whose code differs, and proves the livepatch on a
    trial process. It runs on a build host, which has the compiler and the libraries that the source needs.
  - What can't be live-patched is refused by name, and the module fails. O(allow) is for an author who knows better.
  - If nothing has changed since the last run, nothing is built. The same input gives the same bytes.
  - In check mode it builds in O(work), but writes no livepatch.
author:
  - libpulp.livepatch contributors (@libpulp)
requirements:
  - binutils, diffutils, patch, and what the source is built with
  - python3-capstone
extends_documentation_fragment:
  - libpulp.livepatch.attributes
  - libpulp.livepatch.attributes.changes
  - libpulp.livepatch.core
options:
  source:
    description: A source tree, without the diff. O(build) says how it is built.
    type: path
  build:
    description:
      - The shell command that builds O(source), with the flags that the library was built with.
      - It can also be a list, for a library that is built in several ways, such as with padding and without. There is a
        livepatch for each.
    type: raw
  prepare:
    description: A shell command to run once in O(source) before O(build), such as V(./configure).
    type: str
  debian:
    description:
      - A source package of Debian, built by its own rules.
      - C(NAME) or C(NAME=VERSION) as apt knows it, a C(.dsc) file, or a directory.
    type: str
    aliases: [package, package_dir]
  srpm:
    description: A source package of RPM, a C(.src.rpm) file, built by its own rules.
    type: path
  diffs:
    description:
      - The files with the fix, as C(patch) understands them.
      - For a source package, also the names of patches that it has.
    type: list
    elements: str
    default: []
  without_patches:
    description:
      - Build the source package without these of its patches. Unless O(diffs) are given, what was left out is the fix.
    type: list
    elements: str
    default: []
  strip:
    description: How many leading directories to drop from the names in the diffs, as C(patch -p).
    type: int
    default: 1
  targets:
    description:
      - Only these libraries or programs, by shared object name or file name.
      - Without it, every library whose code changes, or every program if no library does.
    type: list
    elements: str
    default: []
  running:
    description:
      - The library as it is installed where it runs, or the name of the Debian package that is installed and has it.
      - It can also be a list. There is a livepatch for each, and if there are several O(build), the module finds the
        one that has built it.
      - Without it, the library that is built here.
    type: raw
  roots:
    description:
      - Directory trees of other systems, as C(mmdebstrap) or C(debootstrap) make them. The source is built in each,
        with its compiler and its libraries, and there are livepatches for each. The trees stay as they are.
      - A root has to have Python, binutils, patch, diffutils, a compiler, and what the source is built with. The build
        enters it in namespaces of its own, so an ordinary user can build, if ordinary users may have user namespaces.
      - O(running) then names files and packages of the root. All other paths are those of the host.
    type: list
    elements: path
    default: []
  images:
    description: Container images that podman has, used like O(roots).
    type: list
    elements: str
    default: []
  dest:
    description:
      - The directory to write the livepatches to, or one file if the name ends in C(.ulp).
      - With O(roots) or O(images), or several O(build) or O(running), it is a directory. Then the name of each
        livepatch has the first digits of the build ID that it is for.
    type: path
    required: true
  allow:
    description:
      - The names of what to go on with although it is refused, or patterns as in a shell, with the kind before them if
        you like, as in V(layout:context).
      - The metadata of the livepatch say what was allowed.
    type: list
    elements: str
    default: []
  guards:
    description:
      - Functions of a target without padding to hook as well, but not to replace. What they call, themselves or through
        others, is all old or all new.
      - A warning names the functions that call several of those that are replaced.
    type: list
    elements: str
    default: []
  anew:
    description:
      - The names of new variables that start anew in each process, or patterns as in a shell.
      - Otherwise, if an earlier livepatch has brought a variable of the same name, size and type into a process, the
        new code goes on with that one.
    type: list
    elements: str
    default: []
  labels:
    description:
      - What the livepatch is about, each V(KEY=VALUE), a CVE number, a reference to a bug tracker, or other text.
    type: list
    elements: str
    default: []
  work:
    description:
      - Where to build. What stays there makes the next run short.
      - Without it, a directory below C(~/.cache/ulp/build).
    type: path
  build_timeout:
    description: How many seconds each command may take.
    type: float
    default: 3600
  build_space:
    description:
      - How many GiB of the disk the working directory may take.
      - A command that makes it take more is ended, and nothing is built.
    type: float
    default: 20
  proof:
    description: Whether to prove the livepatch on a trial process before it is handed out.
    type: bool
    default: true
  runtime:
    description: The runtime for O(proof).
    type: path
    default: /usr/lib/libpulp/libpulp.so
  test:
    description:
      - A shell command to run in the built tree under the livepatch, such as V(make check).
      - Each process of the command is patched before its C(main) begins, or when it loads the library later. If the
        command fails, or none of its processes was patched, there is no livepatch.
    type: str
  as_root:
    description: Whether the commands of the source may run as root. If not, the module refuses to run as root.
    type: bool
    default: false
seealso:
  - module: libpulp.livepatch.ulp_pack
  - module: libpulp.livepatch.ulp_sign
"""

EXAMPLES = r"""
- name: Build a livepatch from a source tree and a diff
  libpulp.livepatch.ulp_build:
    source: /usr/local/src/expat-2.5.0
    prepare: ./configure
    build: make -j2
    diffs:
      - /usr/local/src/cve-2026-0001.patch
    test: make check
    dest: /usr/local/lib/livepatch

- name: Build one for each way in which a library is built
  libpulp.livepatch.ulp_build:
    source: /usr/local/src/answer
    build:
      - make
      - make CFLAGS='-O2 -g -fpatchable-function-entry=16,14'
    diffs:
      - /usr/local/src/cve-2026-0003.patch
    dest: /usr/local/lib/livepatch/cve-2026-0003

- name: Build one for each release of the distribution
  libpulp.livepatch.ulp_build:
    debian: /usr/local/src/expat-2.5.0
    roots:
      - /srv/bookworm
      - /srv/trixie
    diffs:
      - /usr/local/src/cve-2026-0004.patch
    dest: /usr/local/lib/livepatch/cve-2026-0004

- name: Build one for the library that Debian ships
  libpulp.livepatch.ulp_build:
    debian: nghttp2
    running: libnghttp2-14
    diffs:
      - /usr/local/src/cve-2026-0002.patch
    labels:
      - CVE-2026-0002
    dest: /usr/local/lib/livepatch
"""

RETURN = r"""
targets:
  description: The libraries and programs that change.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The shared object name, or the file name.
      type: str
      sample: libexpat.so.1
    path:
      description: The livepatch that was, or in check mode would be, written; null where something is refused.
      type: str
      sample: /usr/local/lib/livepatch/libexpat.so.1.ulp
    patch_id:
      description: The livepatch's ID.
      type: str
      sample: 96ce0551055a112bca9890780ec018c011f87c5a9d2ac285dcaee11b324f8f25
    functions:
      description: The functions that are replaced, each with C(name), C(source), and C(why).
      type: list
      elements: dict
    guards:
      description:
        - The functions that are hooked without being replaced, since what is replaced jumps to them and they call what
          is replaced.
      type: list
      elements: str
    variables:
      description:
        - The variables that the livepatch brings along, each with C(name), C(size) in bytes, C(start), which is V(anew)
          for one of O(anew), and C(obstacle), the reason why it cannot go on with one of an earlier livepatch.
      type: list
      elements: dict
    labels:
      description: What O(labels) says, a list of values for each key.
      type: dict
    layouts:
      description: The types that are laid out anew.
      type: list
      elements: dict
    refused:
      description: As RV(refused), for this target only.
      type: list
      elements: dict
    allowed:
      description: What O(allow) allowed.
      type: list
      elements: dict
    proof:
      description: What the trial process proved; null without O(proof).
      type: list
      elements: str
refused:
  description: What can't be live-patched, each with C(kind), C(name), C(reason), and C(can_be_allowed).
  returned: always
  type: list
  elements: dict
  sample: []
builds:
  description:
    - If there are several O(build), O(running), O(roots) or O(images), the result of each, with C(build), C(running),
      C(root), C(image), C(error) (why there is no livepatch, or null), and the same fields as this result. If one is
      refused, the others still get their livepatches, but the module fails.
  returned: where there are several
  type: list
  elements: dict
built_in:
  description: The root or image that it was built in, and what the system there calls itself; null on the host itself.
  returned: where there are not several
  type: str
  sample: the root /srv/bookworm (Debian GNU/Linux 12 (bookworm))
left:
  description:
    - If something is refused, the livepatches of an earlier build that lie in the same place. They stay there, and are
      not what was asked for.
  returned: always
  type: list
  elements: str
  sample: []
sources:
  description: The files that the diffs change.
  returned: always
  type: list
  elements: str
  sample: [lib/xmlparse.c]
test:
  description:
    - The result of O(test), with C(command), the number of C(processes), and how many of them were C(patched); null
      without O(test).
    - C(reached) is the number of processes, forked ones as well, in which new code was executed; null if the kernel
      does not tell. If it is 0, a warning says so.
  returned: always
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.libpulp.livepatch.plugins.module_utils.ansible_module import run_module
from ansible_collections.libpulp.livepatch.plugins.module_utils.build.left_behind import sentence_on
from ansible_collections.libpulp.livepatch.plugins.module_utils.build.ordering import Order
from ansible_collections.libpulp.livepatch.plugins.module_utils.build.places import Places, build_livepatches


def _words(module, name):
    """A parameter that is one word or a list of such, as a list."""
    given = module.params[name]
    words = [] if given is None else given if isinstance(given, list) else [given]
    if not all(isinstance(word, str) and word for word in words):
        module.fail_json(msg=f"{name} must be text, or a list of texts")
    return words


def build_livepatch(module):
    """Build what the module's parameters ask for; returns the module's result."""
    params = module.params
    order = Order(
        output=params["dest"],
        build_timeout=params["build_timeout"],
        build_space=params["build_space"],
        source=params["source"],
        prepare=params["prepare"],
        debian=params["debian"],
        srpm=params["srpm"],
        diff=tuple(params["diffs"]),
        without_patch=tuple(params["without_patches"]),
        strip=params["strip"],
        target=tuple(params["targets"]),
        allow=tuple(params["allow"]),
        guard=tuple(params["guards"]),
        anew=tuple(params["anew"]),
        label=tuple(params["labels"]),
        work=params["work"],
        runtime=params["runtime"] if params["proof"] else None,
        as_root=params["as_root"],
        test=params["test"],
    )
    result = build_livepatches(order, _words(module, "build"), _words(module, "running"),
                               Places(params["roots"], params["images"]), module.debug, module.check_mode)
    warnings = [*result.fields["warnings"],
                *(warning for target in result.fields["targets"] for warning in target.get("warnings", ()))]
    fields = dict(result.fields, changed=result.changed, warnings=warnings,
                  diff={"before": result.before, "after": result.after})
    if result.refused:
        reasons = [refusal["reason"] for refusal in result.fields["refused"]]
        left = [sentence_on(fields["left"])] if fields["left"] else []
        fields.update(failed=True, msg="; ".join([*reasons, *left]))
    return fields


def main():
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "source": {"type": "path"},
            "build": {"type": "raw"},
            "prepare": {"type": "str"},
            "debian": {"type": "str", "aliases": ["package", "package_dir"]},
            "srpm": {"type": "path"},
            "diffs": {"type": "list", "elements": "str", "default": []},
            "without_patches": {"type": "list", "elements": "str", "default": []},
            "strip": {"type": "int", "default": 1},
            "targets": {"type": "list", "elements": "str", "default": []},
            "running": {"type": "raw"},
            "roots": {"type": "list", "elements": "path", "default": []},
            "images": {"type": "list", "elements": "str", "default": []},
            "dest": {"type": "path", "required": True},
            "allow": {"type": "list", "elements": "str", "default": []},
            "guards": {"type": "list", "elements": "str", "default": []},
            "anew": {"type": "list", "elements": "str", "default": []},
            "labels": {"type": "list", "elements": "str", "default": []},
            "work": {"type": "path"},
            "build_timeout": {"type": "float", "default": 3600},
            "build_space": {"type": "float", "default": 20},
            "proof": {"type": "bool", "default": True},
            "runtime": {"type": "path", "default": "/usr/lib/libpulp/libpulp.so"},
            "test": {"type": "str"},
            "as_root": {"type": "bool", "default": False},
        },
        required_one_of=[("source", "debian", "srpm"), ("diffs", "without_patches")],
        mutually_exclusive=[("source", "debian", "srpm")],
        required_by={"source": "build", "build": "source", "prepare": "source"},
        supports_check_mode=True,
    )
    run_module(module, build_livepatch)


if __name__ == "__main__":
    main()
