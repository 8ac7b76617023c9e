/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *   version          -> the version that the main thread gets
 *   nested           -> around(version): three digits, all the same
 *   jump             -> "VERSION NEXT": a callback jumps over the library; the version it saw within,
 *                       and the one after the jump
 *   leave            -> the version that the library left with
 *   park HOW         -> a thread blocks in a callback from the library.  HOW: return, jump, locked
 *                       (it returns; meanwhile a part of its stack is kept in memory by mlock())
 *   release          -> "WITHIN RESULT NEXT" where WITHIN is what the callback got from a nested
 *                       call, RESULT what around gave (0 for jump), NEXT a call after it
 */
#include "../parked.h"
#include "../version.h"
#include "callback.h"

#include <sys/mman.h>

#define SECRET 8192 /* bytes: more than a page */

static struct {
	struct parked parked;
	int jumps;
	int locks;
	int within;
	int result;
	int next;
	jmp_buf buffer;
} slot;

static int call_version(void *argument)
{
	(void)argument;
	return version();
}

/* Enters the library twice more before it looks: app, library, app, library, app, library. */
static int call_nested(void *argument)
{
	return around(call_version, argument) % 10;
}

static void run_nested(char **arguments)
{
	(void)arguments;
	answer("%d", around(call_nested, NULL));
}

struct jump {
	jmp_buf buffer;
	int within;
};

static int jump_over(void *argument)
{
	struct jump *jump = argument;

	jump->within = version();
	longjmp(jump->buffer, 1);
}

static void run_jump(char **arguments)
{
	struct jump jump;

	(void)arguments;
	if (!setjmp(jump.buffer))
		around(jump_over, &jump);
	answer("%d %d", jump.within, version());
}

static void run_leave(char **arguments)
{
	jmp_buf buffer;
	int seen;

	(void)arguments;
	seen = setjmp(buffer);
	if (!seen)
		leave(buffer);
	answer("%d", seen);
}

/* As who waits for a password that must not reach the disk: to the kernel the stack is several mappings now. */
static void stay_locked(void)
{
	char secret[SECRET] = "";

	if (mlock(secret, 1))
		die("mlock");
	stay(&slot.parked);
	if (munlock(secret, 1))
		die("munlock");
}

static int block(void *argument)
{
	(void)argument;
	if (slot.locks)
		stay_locked();
	else
		stay(&slot.parked);
	slot.within = around(call_nested, NULL);
	if (slot.jumps)
		longjmp(slot.buffer, 1);
	return version();
}

static void *park(void *argument)
{
	(void)argument;
	if (!setjmp(slot.buffer))
		slot.result = around(block, NULL);
	slot.next = version();
	return NULL;
}

static void run_park(char **arguments)
{
	memset(&slot, 0, sizeof(slot));
	slot.jumps = !strcmp(arguments[1], "jump");
	slot.locks = !strcmp(arguments[1], "locked");
	park_thread(&slot.parked, park, NULL);
	wait_for_flag(&slot.parked.inside);
	answer("parked");
}

static void run_release(char **arguments)
{
	(void)arguments;
	release_thread(&slot.parked);
	answer("%d %d %d", slot.within, slot.result, slot.next);
}

int main(void)
{
	static const struct victim_command commands[] = {
		{"version", run_version},
		{"nested", run_nested},
		{"jump", run_jump},
		{"leave", run_leave},
		{"park", run_park},
		{"release", run_release},
		{NULL, NULL},
	};

	return serve(commands);
}
