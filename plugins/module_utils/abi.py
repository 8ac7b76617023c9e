# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The binary interface to the runtime: native/include/ulp/abi.h for Python.

Constants carry the header's names without the prefix ``ULP_``.  Every
structure of the header is a Layout, named in capitals after it; unpacking one
gives a named tuple with the header's field names.  tests/unit/test_abi.py
compiles the header and compares every offset, size and constant.
"""

from __future__ import annotations

import struct
from collections import namedtuple
from functools import cached_property
from typing import Any

from .named_tuple import NamedTuple
from .printable import printable

ABI_VERSION = 7

STATE_MAGIC = 0x4554415453504C55
REQUEST_MAGIC = 0x5453455551504C55

PATCH_ID_SIZE = 32
BUILD_ID_SIZE = 32
NAME_SIZE = 64
VERSION_SIZE = 16
DOMAINS = 64
LIBRARIES = 64
PATCHES = 256
RESULTS = 8
DETAIL_SIZE = 160
THREAD_SETS = 4096
THREAD_WAYS = 4
EXCEPTED = 32
STUB_SIZE = 112
HOOK_CODE = 20
CELL_SIZE = 256
LANDING_SIZE = 15
PUN_CODE = 8

DOMAIN_TLS_OF_LIBRARY = 1
LIBRARY_POST_PROCESSED = 1
LIBRARY_PROGRAM = 2
LIBRARY_STOCK = 4
LIBRARY_BY_BODIES = LIBRARY_PROGRAM | LIBRARY_STOCK

HOOK_PADDING = 0
HOOK_PUN = 1
HOOK_SHORT = 2

PATCH_APPLIED = 1
PATCH_REVERTED = 2

STAGE_EMPTY = 0
STAGE_REFUSED = 1
STAGE_STARTED = 2
STAGE_DONE = 3
STAGE_FAILED = 4
STAGE_WAITS = 5

APPLY = 1
REVERT = 2
SETTLE = 3

SITE_ENDBR = 1
SITE_ENTRY = 2
SITE_TRAMPOLINE = 4
SITE_TAIL = 8
SITE_CYCLE = 16
SITE_JUMPED = 32
SITE_PUN = 64
SITE_HOPS = SITE_ENTRY | SITE_TRAMPOLINE

PUN_PLAIN = 0
PUN_RELATIVE = 1
PUN_JUMP = 2

CELL_OLD = 16
CELL_FRAMES = 64
CELL_SAVED = 200

BIND_ADDRESS = 1
BIND_WORD = 2
BIND_SYMBOL = 3
BIND_TLS = 4
BIND_TLS_WORDS = 5

BLOCK_RED_ZONE = 128
BLOCK_XSTATE = 256
BLOCK_CATCH_UP = 1
BLOCK_HAS_RSEQ = 2
BLOCK_MAY_COPY = 4

BOOTSTRAP_MAGIC = 0x544F4F42504C5536
BOOTSTRAP_WITHDRAWN = 0x80000000
BOOTSTRAP_FORKED = 0x7FFFFFFF
BOOTSTRAP_NONE = 0
BOOTSTRAP_STARTED = 1
BOOTSTRAP_WAITS = 2
BOOTSTRAP_LOADED = 3
BOOTSTRAP_NO_THREAD = 4
BOOTSTRAP_NO_FILE = 5
BOOTSTRAP_REFUSED = 6
BOOTSTRAP_NO_RSEQ = 7

NOTE_TRM = 1
NOTE_NAME = b"ulp\0"

LARGEST_OFFSET = (1 << 32) - 1  # what struct ulp_request_site can hold
PAD_BEFORE = 14
PAD_ENTRY = 2

OK = 0
BUSY = 1
UNSAFE = 2
STALE_REQUEST = 3
NO_THREAD = 4
BAD_REQUEST = 16
BAD_VERSION = 17
LIBRARY_CHANGED = 18
LOAD_FAILED = 19
PATCH_MISMATCH = 20
TEXT_UNWRITABLE = 21
NO_BARRIER = 22
NO_MEMORY = 23
FULL = 24
UNEXPECTED_CODE = 25
DOMAINS_DIFFER = 26
ALREADY_APPLIED = 27
NOT_APPLIED = 28
WORKER_LOST = 29
BINDING_FAILED = 30
NO_LANDING = 31
WORD_UNWRITABLE = 32

# The number of an error below this one means: another thread, or a moment later, may serve.
FIRST_FINAL_ERROR = 16

ERROR_NAMES = {
    OK: "OK",
    BUSY: "BUSY",
    UNSAFE: "UNSAFE",
    STALE_REQUEST: "STALE_REQUEST",
    NO_THREAD: "NO_THREAD",
    BAD_REQUEST: "BAD_REQUEST",
    BAD_VERSION: "BAD_VERSION",
    LIBRARY_CHANGED: "LIBRARY_CHANGED",
    LOAD_FAILED: "LOAD_FAILED",
    PATCH_MISMATCH: "PATCH_MISMATCH",
    TEXT_UNWRITABLE: "TEXT_UNWRITABLE",
    NO_BARRIER: "NO_BARRIER",
    NO_MEMORY: "NO_MEMORY",
    FULL: "FULL",
    UNEXPECTED_CODE: "UNEXPECTED_CODE",
    DOMAINS_DIFFER: "DOMAINS_DIFFER",
    ALREADY_APPLIED: "ALREADY_APPLIED",
    NOT_APPLIED: "NOT_APPLIED",
    WORKER_LOST: "WORKER_LOST",
    BINDING_FAILED: "BINDING_FAILED",
    NO_LANDING: "NO_LANDING",
    WORD_UNWRITABLE: "WORD_UNWRITABLE",
}

ERROR_SENTENCES = {
    OK: "done",
    BUSY: "the runtime is carrying out another request",
    UNSAFE: "the thread was not at a point where it could be borrowed",
    STALE_REQUEST: "another request took this one's place",
    NO_THREAD: "the process could not start another thread",
    BAD_REQUEST: "the runtime found the request malformed",
    BAD_VERSION: "the runtime in the process speaks another version of the interface",
    LIBRARY_CHANGED: "a target library is no longer mapped where it was, or has another build ID",
    LOAD_FAILED: "the dynamic loader did not load the patch library",
    PATCH_MISMATCH: "the file that was loaded is not the patch library that was asked for",
    TEXT_UNWRITABLE: "the process does not let its code be changed",
    NO_BARRIER: "the kernel does not offer membarrier SYNC_CORE to the process",
    NO_MEMORY: "the process is out of memory",
    FULL: "a table of the runtime is full",
    UNEXPECTED_CODE: "the code at a function's entry is not what it should be, as when a probe or a debugger is there",
    DOMAINS_DIFFER: "the target libraries were first patched apart from each other; apply a livepatch for each of them"
                    " alone, or restart the process",
    ALREADY_APPLIED: "the patch is already applied",
    NOT_APPLIED: "the patch is not applied",
    WORKER_LOST: "the thread that carried out an earlier request was killed at its work; restart the process",
    NO_LANDING: "no jump over the start of a function would lead to free memory",
    WORD_UNWRITABLE: "the process does not let data of the patch library be changed",
    BINDING_FAILED: "what the livepatch refers to in the target library is not to be found",
}


def error_sentence(number: int) -> str:
    """What error ``number`` (enum ulp_error) means, in words; also for a number that is not known here."""
    return ERROR_SENTENCES.get(number, f"the runtime reports error {number}")


def is_retryable(number: int) -> bool:
    """Whether error ``number`` says that another thread, or a moment later, may serve."""
    return OK < number < FIRST_FINAL_ERROR


class Layout:
    """One C structure: its name, its fields' offsets and sizes in bytes, its total size in bytes.

    The header promises little endian and natural alignment without padding,
    so a format is simply the fields' formats in a row.
    """

    def __init__(self, name: str, *fields: tuple[str, str]) -> None:
        self.name = name
        self.fields = fields
        self.offsets: dict[str, int] = {}
        self.sizes: dict[str, int] = {}
        code = "<"
        offset = 0
        for field, field_format in fields:
            self.offsets[field] = offset
            self.sizes[field] = struct.calcsize("<" + field_format)
            offset += self.sizes[field]
            code += field_format
        self._struct = struct.Struct(code)
        self.size = self._struct.size
        self._reserved = {
            field: b"" if field_format.endswith("s") else 0
            for field, field_format in fields if field == "reserved"
        }

    @cached_property
    def record(self) -> Any:
        """The class of the named tuples; made when it is needed, as one run unpacks few of the structures."""
        return namedtuple(self.name, [field for field, _format in self.fields])

    def unpack(self, data: bytes, offset: int = 0) -> Any:
        """The named tuple of the structure at ``offset`` (bytes) in ``data``; struct.error when it does not fit."""
        return self.record._make(self._struct.unpack_from(data, offset))

    def unpack_array(self, data: bytes, offset: int, count: int) -> list[Any]:
        """A list of ``count`` named tuples, one after the other from ``offset`` (bytes) in ``data``."""
        make = self.record._make
        with memoryview(data) as view, view[offset:offset + count * self.size] as part:
            return [make(values) for values in self._struct.iter_unpack(part)]

    def pack(self, **values: object) -> bytes:
        """The bytes of the structure; every field must be given but ``reserved``, which becomes 0."""
        values.update(self._reserved)
        return self._struct.pack(*self.record(**values))


class OlderLayout(Layout):
    """A structure as it was before some fields came; unpacked as it is now, with 0 or no bytes for those."""

    def __init__(self, newest: Layout, missing: tuple[str, ...]) -> None:
        super().__init__(newest.name, *(each for each in newest.fields if each[0] not in missing))
        self._newest = newest
        self._missing: dict[str, Any] = {
            field: b"" if field_format.endswith("s") else 0
            for field, field_format in newest.fields if field in missing
        }

    def _now(self, values: Any) -> Any:
        return self._newest.record(**dict(zip(self.offsets, values)), **self._missing)

    def unpack(self, data: bytes, offset: int = 0) -> Any:
        return self._now(self._struct.unpack_from(data, offset))

    def unpack_array(self, data: bytes, offset: int, count: int) -> list[Any]:
        with memoryview(data) as view, view[offset:offset + count * self.size] as part:
            return [self._now(values) for values in self._struct.iter_unpack(part)]

    def pack(self, **values: object) -> bytes:
        """As of a Layout; what was not there is left out."""
        values.update(self._reserved)
        return self._struct.pack(*(values[field] for field in self.offsets))


DOMAIN = Layout(
    "ulp_domain",
    ("universe", "Q"),
    ("tls_offset", "q"),
    ("slow_entries", "Q"),
    ("kept", "Q"),
    ("unprovable", "Q"),
    ("library_count", "I"),
    ("flags", "I"),
    ("floor", "Q"),
    ("floor_keeps", "Q"),
    ("keeps", "Q"),
    ("coroutines", "Q"),
    ("seen", "Q"),
    ("seen_keeps", "Q"),
    ("seen_sequence", "I"),
    ("excepted_count", "I"),
    ("excepted", f"{4 * EXCEPTED}s"),
    ("hooked_again", "Q"),
    ("suspended", "Q"),
)

LIBRARY = Layout(
    "ulp_library",
    ("base", "Q"),
    ("text_start", "Q"),
    ("text_end", "Q"),
    ("resolver", "Q"),
    ("domain", "I"),
    ("flags", "I"),
    ("hooked", "I"),
    ("build_id_size", "I"),
    ("build_id", f"{BUILD_ID_SIZE}s"),
    ("name", f"{NAME_SIZE}s"),
    ("bodies", "Q"),
    ("hooks", "Q"),
    ("hooks_count", "Q"),
)

HOOK = Layout(
    "ulp_hook",
    ("function", "Q"),
    ("slot", "Q"),
    ("stub", "Q"),
    ("stub_checksum", "I"),
    ("relied", "I"),
    ("code", f"{HOOK_CODE}s"),
    ("original", f"{HOOK_CODE}s"),
    ("start", "Q"),
    ("landing", "Q"),
    ("cell", "Q"),
    ("landing_checksum", "I"),
    ("cell_checksum", "I"),
    ("kind", "I"),
    ("frame", "I"),
)

HOOKS = Layout("ulp_hooks", ("older", "Q"), ("older_count", "Q"))

BODY = Layout("ulp_body", ("start", "Q"), ("end", "Q"))

BODIES = Layout("ulp_bodies", ("count", "Q"))

PATCH = Layout(
    "ulp_patch",
    ("id", f"{PATCH_ID_SIZE}s"),
    ("applied_universe", "Q"),
    ("reverted_universe", "Q"),
    ("loaded_ns", "Q"),
    ("text_start", "Q"),
    ("text_end", "Q"),
    ("status", "I"),
    ("domain", "I"),
    ("functions", "I"),
    ("reserved", "I"),
    ("name", f"{NAME_SIZE}s"),
)

RESULT = Layout(
    "ulp_result",
    ("nonce", "Q"),
    ("stage", "I"),
    ("error", "i"),
    ("entry_ns", "Q"),
    ("worker_ns", "Q"),
    ("universe", "Q"),
    ("detail", f"{DETAIL_SIZE}s"),
)

THREAD = Layout(
    "ulp_thread",
    ("tid", "Q"),
    ("born_ns", "Q"),
    ("thread_pointer", "Q"),
    ("unprovable", "Q"),
)

MESSAGES = Layout(
    "ulp_messages",
    ("written", "Q"),
    ("size", "Q"),
    ("data", "16384s"),
)

STATE = Layout(
    "ulp_state",
    ("magic", "Q"),
    ("abi_version", "I"),
    ("size", "I"),
    ("sequence", "I"),
    ("owner", "I"),
    ("runtime_version", f"{VERSION_SIZE}s"),
    ("entry", "Q"),
    ("request", "Q"),
    ("request_capacity", "Q"),
    ("threads", "Q"),
    ("messages", "Q"),
    ("stubs_start", "Q"),
    ("stubs_used", "Q"),
    ("stubs_size", "Q"),
    ("text_start", "Q"),
    ("text_end", "Q"),
    ("domain_count", "I"),
    ("library_count", "I"),
    ("patch_count", "I"),
    ("last_error", "I"),
    ("results", f"{RESULTS * RESULT.size}s"),
    ("domains", f"{DOMAINS * DOMAIN.size}s"),
    ("libraries", f"{LIBRARIES * LIBRARY.size}s"),
    ("patches", f"{PATCHES * PATCH.size}s"),
    ("attached", "Q"),
)

REQUEST = Layout(
    "ulp_request",
    ("magic", "Q"),
    ("abi_version", "I"),
    ("size", "I"),
    ("nonce", "Q"),
    ("checksum", "I"),
    ("operation", "I"),
    ("patch_id", f"{PATCH_ID_SIZE}s"),
    ("patch_build_id", f"{BUILD_ID_SIZE}s"),
    ("patch_build_id_size", "I"),
    ("patch_path", "I"),
    ("patch_name", "I"),
    ("library_count", "I"),
    ("libraries", "I"),
    ("settled", "I"),
    ("settled_keeps", "Q"),
    ("excepted", "I"),
    ("excepted_count", "I"),
    ("suspended", "Q"),
    ("replaced", "I"),
    ("replaced_count", "I"),
)

REQUEST_LIBRARY = Layout(
    "ulp_request_library",
    ("base", "Q"),
    ("text_start", "Q"),
    ("text_end", "Q"),
    ("trm", "Q"),
    ("build_id", f"{BUILD_ID_SIZE}s"),
    ("build_id_size", "I"),
    ("flags", "I"),
    ("name", "I"),
    ("sites", "I"),
    ("site_count", "I"),
    ("replacements", "I"),
    ("replacement_count", "I"),
    ("bodies", "I"),
    ("body_count", "I"),
    ("bindings", "I"),
    ("binding_count", "I"),
    ("puns", "I"),
    ("pun_count", "I"),
    ("reserved", "I"),
)

REQUEST_SITE = Layout("ulp_request_site", ("function", "I"), ("flags", "I"))

REQUEST_REPLACEMENT = Layout(
    "ulp_request_replacement",
    ("function", "I"),
    ("reserved", "I"),
    ("replacement", "Q"),
)

REQUEST_BINDING = Layout(
    "ulp_request_binding",
    ("slot", "Q"),
    ("offset", "Q"),
    ("addend", "q"),
    ("kind", "I"),
    ("name", "I"),
    ("version", "I"),
    ("reserved", "I"),
)

REQUEST_PUN = Layout(
    "ulp_request_pun",
    ("function", "I"),
    ("site", "I"),
    ("size", "I"),
    ("checksum", "I"),
    ("frame_before", "I"),
    ("frame_after", "I"),
    ("code", f"{PUN_CODE}s"),
    ("written", "B"),
    ("length", "B"),
    ("instruction", "B"),
    ("displacement", "B"),
    ("gap", "I"),
)

BLOCK = Layout(
    "ulp_block",
    ("registers", "216s"),
    ("interrupted", "Q"),
    ("nonce", "Q"),
    ("signal_mask", "Q"),
    ("flags", "Q"),
    ("expected", "Q"),
)

BOOTSTRAP = Layout(
    "ulp_bootstrap",
    ("magic", "Q"),
    ("size", "I"),
    ("entry", "I"),
    ("pthread_create", "Q"),
    ("pthread_attr_init", "Q"),
    ("pthread_attr_setstacksize", "Q"),
    ("pthread_attr_setdetachstate", "Q"),
    ("errno_location", "Q"),
    ("register_atfork", "Q"),
    ("cxa_finalize", "Q"),
    ("dlopen", "Q"),
    ("dlerror", "Q"),
    ("system_call", "Q"),
    ("c_library_start", "Q"),
    ("c_library_end", "Q"),
    ("words", "Q"),
    ("detail_size", "I"),
    ("has_avx", "B"),
    ("brings_bytes", "B"),
    ("reserved", "2s"),
)

BOOTSTRAP_WORDS = Layout(
    "ulp_bootstrap_words",
    ("claim", "Q"),
    ("begun", "I"),
    ("stage", "I"),
    ("error", "i"),
    ("thread", "I"),
    ("worker", "I"),
    ("descriptor", "i"),
    ("detail", "8s"),
)

TRM = Layout("ulp_trm", ("version", "Q"), ("locate", "q"))

LAYOUTS = (
    DOMAIN, LIBRARY, HOOK, HOOKS, BODY, BODIES, PATCH, RESULT, THREAD, MESSAGES, STATE,
    REQUEST, REQUEST_LIBRARY, REQUEST_SITE, REQUEST_REPLACEMENT, REQUEST_BINDING, REQUEST_PUN, BLOCK,
    BOOTSTRAP, BOOTSTRAP_WORDS, TRM,
)


class Interface(NamedTuple):
    """The structures of one version of the interface that were not the same in all of them."""

    version: int
    domain: Layout
    library: Layout
    hook: Layout
    state: Layout
    request: Layout
    request_library: Layout

    @property
    def shows_hooks(self) -> bool:
        """Whether the state block tells which functions are hooked; else nobody can verify that from outside."""
        return self.version >= 4

    @property
    def knows_gaps(self) -> bool:
        """Whether a function without padding can be hooked by way of a gap."""
        return self.version >= 6

    @property
    def knows_saved_registers(self) -> bool:
        """Whether unwinders find a register in a cell whose instruction changes it, behind a push of it."""
        return self.version >= 7


def _state_of(domain: Layout, library: Layout) -> Layout:
    sizes = {"domains": f"{DOMAINS * domain.size}s", "libraries": f"{LIBRARIES * library.size}s"}
    return Layout(STATE.name, *(
        (field, sizes.get(field, field_format)) for field, field_format in STATE.fields if field != "attached"
    ))


def _interfaces() -> dict[int, Interface]:
    # Version 7 brought cells that say where the pushes in them have saved registers, in no layout of its own.
    # Version 6 brought gaps, in no layout of its own: an older runtime would take one for a wide pun.
    # Version 5 brought functions without padding, words that are bound, livepatches that replace others, and runtimes
    # that are loaded into running processes.
    hook = OlderLayout(
        HOOK, ("start", "landing", "cell", "landing_checksum", "cell_checksum", "kind", "frame"))
    request_library = OlderLayout(REQUEST_LIBRARY, ("bindings", "binding_count", "puns", "pun_count"))
    request = OlderLayout(REQUEST, ("replaced", "replaced_count"))
    # Version 4 brought the tables of hooks, and what is known of suspended stacks.
    domain_3 = OlderLayout(DOMAIN, ("hooked_again", "suspended"))
    library_3 = OlderLayout(LIBRARY, ("resolver", "hooks", "hooks_count"))
    request_3 = OlderLayout(REQUEST, ("replaced", "replaced_count", "suspended"))
    return {
        7: Interface(7, DOMAIN, LIBRARY, HOOK, STATE, REQUEST, REQUEST_LIBRARY),
        6: Interface(6, DOMAIN, LIBRARY, HOOK, STATE, REQUEST, REQUEST_LIBRARY),
        5: Interface(5, DOMAIN, LIBRARY, HOOK, STATE, REQUEST, REQUEST_LIBRARY),
        4: Interface(4, DOMAIN, LIBRARY, hook, _state_of(DOMAIN, LIBRARY), request, request_library),
        3: Interface(3, domain_3, library_3, hook, _state_of(domain_3, library_3), request_3, request_library),
    }


# What a runtime may speak that is still in some process; tools read and revert all of them.
INTERFACES = _interfaces()

# The bytes of the state block up to the first array: all that a first look needs.
STATE_HEADER_SIZE = STATE.offsets["results"]


class State(NamedTuple):
    """A state block, decoded: the fields of struct ulp_state, and only the array elements in use."""

    header: Any
    results: list[Any]
    domains: list[Any]
    libraries: list[Any]
    patches: list[Any]


def unpack_state(data: bytes) -> State:
    """Decode a copy of the whole state block.

    :param data: ``STATE.size`` bytes.
    :return: State; ``header`` is a named tuple of STATE whose array fields hold raw bytes.
    :raises ValueError: a count is larger than its table, or data is too short.
    """
    if len(data) < STATE.size:
        raise ValueError(f"{len(data)} bytes are too few for a state block of {STATE.size}")
    header = STATE.unpack(data)
    for what, count, limit in (
        ("domains", header.domain_count, DOMAINS),
        ("libraries", header.library_count, LIBRARIES),
        ("patches", header.patch_count, PATCHES),
    ):
        if count > limit:
            raise ValueError(f"the state block counts {count} {what}, but has room for {limit}")
    return State(
        header=header,
        results=RESULT.unpack_array(data, STATE.offsets["results"], RESULTS),
        domains=DOMAIN.unpack_array(data, STATE.offsets["domains"], header.domain_count),
        libraries=LIBRARY.unpack_array(data, STATE.offsets["libraries"], header.library_count),
        patches=PATCH.unpack_array(data, STATE.offsets["patches"], header.patch_count),
    )


def text(field: bytes) -> str:
    """The printable str in a fixed-size, NUL-terminated char array; bytes that are not UTF-8 become U+FFFD."""
    return printable(bytes(field).split(b"\0", 1)[0].decode("utf-8", "replace"))
