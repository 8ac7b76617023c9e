/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Every name that the runtime imports, or ever imported for what it does on the way into a function,
 * around a fork, or on a borrowed thread; but dlsym and dlvsym, by which the others are found here.
 */
#define EVERY_NAME(X)                                                                              \
	X(pthread_attr_init)                                                                       \
	X(pthread_attr_destroy)                                                                    \
	X(pthread_attr_getstacksize)                                                               \
	X(pthread_attr_setstacksize)                                                               \
	X(pthread_attr_setdetachstate)                                                             \
	X(pthread_create)                                                                          \
	X(dlopen)                                                                                  \
	X(dlmopen)                                                                                 \
	X(dlclose)                                                                                 \
	X(dlerror)                                                                                 \
	X(dlinfo)                                                                                  \
	X(dl_iterate_phdr)                                                                         \
	X(malloc)                                                                                  \
	X(calloc)                                                                                  \
	X(free)                                                                                    \
	X(__register_atfork)                                                                       \
	X(__errno_location)                                                                        \
	X(__stack_chk_fail)                                                                        \
	X(_Unwind_Backtrace)                                                                       \
	X(_Unwind_GetCFA)                                                                          \
	X(_Unwind_GetIPInfo)                                                                       \
	X(_Unwind_GetRegionStart)                                                                  \
	X(_dl_find_object)                                                                         \
	X(abort)                                                                                   \
	X(clock_gettime)                                                                           \
	X(close)                                                                                   \
	X(fcntl64)                                                                                 \
	X(fstat64)                                                                                 \
	X(getauxval)                                                                               \
	X(getpid)                                                                                  \
	X(getrlimit64)                                                                             \
	X(memchr)                                                                                  \
	X(memcmp)                                                                                  \
	X(memcpy)                                                                                  \
	X(memfd_create)                                                                            \
	X(memmove)                                                                                 \
	X(memset)                                                                                  \
	X(mmap64)                                                                                  \
	X(mprotect)                                                                                \
	X(munmap)                                                                                  \
	X(nanosleep)                                                                               \
	X(open64)                                                                                  \
	X(pthread_mutex_clocklock)                                                                 \
	X(pthread_mutex_lock)                                                                      \
	X(pthread_mutex_trylock)                                                                   \
	X(pthread_mutex_unlock)                                                                    \
	X(pthread_self)                                                                            \
	X(pwrite64)                                                                                \
	X(qsort)                                                                                   \
	X(strcmp)                                                                                  \
	X(strdup)                                                                                  \
	X(strlen)                                                                                  \
	X(strncpy)                                                                                 \
	X(syscall)

/* No more arguments than go in registers, which are passed on as they are. */
typedef unsigned long word;
typedef word any_function(word, word, word, word, word, word);

/* replaced_imports_target.c: the next function of this name, and how often each version was called. */
any_function *next_function(const char *name);
extern unsigned long version_calls[2];

#define DEFINE(name, version, real)                                                                \
	word name(word a, word b, word c, word d, word e, word f)                                  \
	{                                                                                          \
		static any_function *next;                                                         \
                                                                                                   \
		if (!next)                                                                         \
			next = next_function(real);                                                \
		__atomic_fetch_add(&version_calls[version], 1, __ATOMIC_RELAXED);                  \
		return next(a, b, c, d, e, f);                                                     \
	}
