/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *   throw      -> the version that outer's exception names, on the main thread
 *   catch      -> the version that the library caught itself
 *   fresh      -> like throw, on a new thread
 *   park       -> a thread goes through the library into a callback, and blocks there
 *   release    -> "WITHIN NEXT": the callback calls outer and lets its exception fly through the
 *                 library to where it came from; then the thread calls outer again
 *   objects    -> "MADE DESTROYED"
 */
#include "../parked.h"
#include "exceptions.h"

#include <stdexcept>

static int version_thrown()
{
	try {
		outer(0);
	} catch (const std::runtime_error &error) {
		return atoi(error.what());
	}
	return 0;
}

static parked parked;
static int within, next_thrown;

static int block_then_throw(void *)
{
	stay(&parked);
	return outer(0);
}

static void *park(void *)
{
	try {
		around(block_then_throw, nullptr);
	} catch (const std::runtime_error &error) {
		within = atoi(error.what());
	}
	next_thrown = version_thrown();
	return nullptr;
}

static void run_throw(char **)
{
	answer("%d", version_thrown());
}

static void run_catch(char **)
{
	answer("%d", catching(0));
}

static void *visit(void *result)
{
	*static_cast<int *>(result) = version_thrown();
	return nullptr;
}

static void run_fresh(char **)
{
	int version = 0;

	join_thread(start_thread(visit, &version));
	answer("%d", version);
}

static void run_park(char **)
{
	within = next_thrown = 0;
	park_thread(&parked, park, nullptr);
	wait_for_flag(&parked.inside);
	answer("parked");
}

static void run_release(char **)
{
	release_thread(&parked);
	answer("%d %d", within, next_thrown);
}

static void run_objects(char **)
{
	answer("%d %d", objects_made, objects_destroyed);
}

int main()
{
	static const victim_command commands[] = {
		{"throw", run_throw}, {"catch", run_catch},     {"fresh", run_fresh},
		{"park", run_park},   {"release", run_release}, {"objects", run_objects},
		{nullptr, nullptr},
	};

	return serve(commands);
}
