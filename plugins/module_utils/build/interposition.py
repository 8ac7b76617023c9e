# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Record compilers that a build calls by a path of its own, where no directory of PATH can stand before them.

A small library is preloaded into the build.  It takes the place of the C library's exec and spawn functions; where they
would run a program that is called like a compiler, and that is none of the wrappers, they run the recorder with that
program's path instead.  Programs that are linked statically are out of its reach.

Sources: environ(7), exec(3), posix_spawn(3), and ld.so(8) for LD_PRELOAD.
"""

from __future__ import annotations

import os
import re
from typing import Sequence

from .commands import run
from .compiler_wrapper import RECORDS, WRAPPERS
from .errors import BuildFailed

_SOURCE = """\
#define _GNU_SOURCE
#include <alloca.h>
#include <dlfcn.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

typedef int (*exec_function)(const char *, char *const[], char *const[]);
typedef int (*spawn_function)(pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *,
                              char *const[], char *const[]);
static exec_function real_execve, real_execvpe;
static spawn_function real_spawn, real_spawnp;
static const char *const stems[] = { @STEMS@ };

/* Before anything calls them: in a child of vfork() it would be too late to look for them. */
__attribute__((constructor)) static void find_real(void)
{
    real_execve = (exec_function)dlsym(RTLD_NEXT, "execve");
    real_execvpe = (exec_function)dlsym(RTLD_NEXT, "execvpe");
    real_spawn = (spawn_function)dlsym(RTLD_NEXT, "posix_spawn");
    real_spawnp = (spawn_function)dlsym(RTLD_NEXT, "posix_spawnp");
}

static const char *value_of(const char *name, char *const environment[])
{
    size_t length = strlen(name);
    for (; environment != NULL && *environment != NULL; environment++)
        if (strncmp(*environment, name, length) == 0 && (*environment)[length] == '=')
            return *environment + length + 1;
    return NULL;
}

/* Whether a file is called like a compiler: one of the stems, with a prefix and a version or without. */
static int is_compiler(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    size_t length = strlen(name);
    size_t end = length;
    while (end > 0 && strchr("0123456789.", name[end - 1]) != NULL)
        end--;
    if (end < length && end > 0 && name[end - 1] == '-')
        length = end - 1;
    for (size_t index = 0; index < sizeof(stems) / sizeof(stems[0]); index++) {
        size_t size = strlen(stems[index]);
        if (length >= size && memcmp(name + length - size, stems[index], size) == 0
            && (length == size || name[length - size - 1] == '-'))
            return 1;
    }
    return 0;
}

/* The path of what PATH leads to, in `found`; NULL if there is none. */
static const char *search(const char *name, char *found, size_t size)
{
    const char *path = value_of("PATH", environ);
    size_t length = strlen(name);
    for (; path != NULL && *path != '\\0'; path += strcspn(path, ":"), path += *path == ':') {
        size_t place = strcspn(path, ":");
        if (place == 0 || place + length + 2 > size)
            continue;
        memcpy(found, path, place);
        found[place] = '/';
        memcpy(found + place + 1, name, length + 1);
        if (access(found, X_OK) == 0)
            return found;
    }
    return NULL;
}

/* The path of the compiler that is to be recorded, or NULL. */
static const char *to_record(const char *name, char *const environment[], int by_path, char *found, size_t size)
{
    const char *wrappers = value_of("@WRAPPERS@", environment);
    const char *path = name;
    size_t length;
    if (name == NULL || wrappers == NULL || value_of("@RECORDS@", environment) == NULL || !is_compiler(name))
        return NULL;
    if (by_path && strchr(name, '/') == NULL)
        path = search(name, found, size);
    length = strlen(wrappers);
    if (path == NULL || access(path, X_OK) != 0 || (strncmp(path, wrappers, length) == 0 && path[length] == '/'))
        return NULL;
    return path;
}

static size_t count(char *const words[])
{
    size_t number = 0;
    while (words[number] != NULL)
        number++;
    return number;
}

/* Fill `command` with: the recorder, the compiler, its arguments. */
static void recorded(char **command, const char *compiler, char *const arguments[])
{
    size_t number = count(arguments);
    command[0] = (char *)"@RECORDER@";
    command[1] = (char *)compiler;
    for (size_t index = 1; index <= number; index++)
        command[index + 1] = arguments[index];
    if (number == 0)
        command[2] = NULL;
}

#define FOUND_SIZE 4096

static int run(const char *name, char *const arguments[], char *const environment[], int by_path)
{
    char found[FOUND_SIZE];
    const char *compiler = to_record(name, environment, by_path, found, sizeof(found));
    if (compiler != NULL) {
        char **command = alloca((count(arguments) + 3) * sizeof(*command));
        recorded(command, compiler, arguments);
        return real_execve(command[0], command, environment);
    }
    return (by_path ? real_execvpe : real_execve)(name, arguments, environment);
}

static int start(pid_t *pid, const char *name, const posix_spawn_file_actions_t *actions,
                 const posix_spawnattr_t *attributes, char *const arguments[], char *const environment[], int by_path)
{
    char found[FOUND_SIZE];
    const char *compiler = to_record(name, environment, by_path, found, sizeof(found));
    if (compiler != NULL) {
        char **command = alloca((count(arguments) + 3) * sizeof(*command));
        recorded(command, compiler, arguments);
        return real_spawn(pid, command[0], actions, attributes, command, environment);
    }
    return (by_path ? real_spawnp : real_spawn)(pid, name, actions, attributes, arguments, environment);
}

int execve(const char *path, char *const arguments[], char *const environment[])
{
    return run(path, arguments, environment, 0);
}

int execv(const char *path, char *const arguments[])
{
    return run(path, arguments, environ, 0);
}

int execvp(const char *name, char *const arguments[])
{
    return run(name, arguments, environ, 1);
}

int execvpe(const char *name, char *const arguments[], char *const environment[])
{
    return run(name, arguments, environment, 1);
}

/* The arguments of execl() and its like, up to NULL, as a vector `words` in the caller's frame. */
#define COLLECT(first, words, rest) \\
    do { \\
        va_list again; \\
        size_t number = 1; \\
        va_copy(again, rest); \\
        while (va_arg(again, char *) != NULL) \\
            number++; \\
        va_end(again); \\
        words = alloca((number + 1) * sizeof(*words)); \\
        words[0] = (char *)first; \\
        for (size_t index = 1; index <= number; index++) \\
            words[index] = va_arg(rest, char *); \\
    } while (0)

int execl(const char *path, const char *first, ...)
{
    char **words;
    va_list rest;
    va_start(rest, first);
    COLLECT(first, words, rest);
    va_end(rest);
    return run(path, words, environ, 0);
}

int execlp(const char *name, const char *first, ...)
{
    char **words;
    va_list rest;
    va_start(rest, first);
    COLLECT(first, words, rest);
    va_end(rest);
    return run(name, words, environ, 1);
}

int execle(const char *path, const char *first, ...)
{
    char **words;
    char *const *environment;
    va_list rest;
    va_start(rest, first);
    COLLECT(first, words, rest);
    environment = va_arg(rest, char *const *);
    va_end(rest);
    return run(path, words, environment, 0);
}

int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                const posix_spawnattr_t *attributes, char *const arguments[], char *const environment[])
{
    return start(pid, path, actions, attributes, arguments, environment, 0);
}

int posix_spawnp(pid_t *pid, const char *name, const posix_spawn_file_actions_t *actions,
                 const posix_spawnattr_t *attributes, char *const arguments[], char *const environment[])
{
    return start(pid, name, actions, attributes, arguments, environment, 1);
}
"""
# ld.so(8) takes these for the end of a path, whatever is done.
_SEPARATORS = re.compile(r"[ :]")


def write_interposer(path: str, recorder: str, stems: Sequence[str], compilers: Sequence[str]) -> bool:
    """Make the library that is preloaded; whether it could be made.

    :param recorder: the program that runs in place of a compiler; gets the compiler's path and its arguments.
    :param stems: what compilers are called.
    :param compilers: the paths of compilers to make it with; the first that can, does.
    """
    if _SEPARATORS.search(path):
        return False
    text = _SOURCE.replace("@STEMS@", ", ".join(f'"{stem}"' for stem in stems)).replace(
        "@WRAPPERS@", WRAPPERS).replace("@RECORDS@", RECORDS).replace("@RECORDER@", _in_c(recorder))
    source = os.path.splitext(path)[0] + ".c"
    with open(source, "w", encoding="utf-8", errors="surrogateescape") as stream:
        stream.write(text)
    for compiler in compilers:
        try:
            run([compiler, "-O2", "-fPIC", "-shared", "-w", "-o", path, source, "-ldl"],
                "compile what sees compilers that are called by their path", "gcc")
            return True
        except BuildFailed:
            # A compiler for another machine, or of another language.
            continue
    return False


def _in_c(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
