/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Eight threads call functions without padding all the time, while they are hooked, replaced, reverted and undone. */
#include <pthread.h>
#include <sched.h>

#include "stock.h"
#include "target.h"

#define THREADS 8
#define CYCLES  200

static volatile bool over;
static unsigned long wrong;
static unsigned long rounds[THREADS];

static void nothing(void *argument)
{
	(void)argument;
}

static void *call(void *argument)
{
	unsigned long calls = 0;

	for (; !over; calls++) {
		__atomic_store_n((unsigned long *)argument, calls, __ATOMIC_SEQ_CST);
		/* So that nobody waits long for the others' turns. */
		if (calls % 64 == 0)
			sched_yield();
		int x = (int)(calls % 100), results[] = {
						    stock_plain(x) - 1,
						    stock_relative(x) - 7,
						    stock_jump(x) - 2,
						    stock_frame(x) - 3,
						    stock_pushes(nothing, NULL, x) - 4,
						    stock_endbr(x) - 5,
					    };
		static const int news[] = {999, 993, 998, 997, 996, 995};

		for (unsigned i = 0; i < sizeof results / sizeof *results; i++)
			if (results[i] != x && results[i] != x + news[i])
				__atomic_add_fetch(&wrong, 1, __ATOMIC_RELAXED);
	}
	return (void *)calls;
}

/* Each thread has begun another round of calls since. */
static void wait_until_all_were_outside(void)
{
	for (unsigned i = 0; i < THREADS; i++) {
		unsigned long before = __atomic_load_n(&rounds[i], __ATOMIC_SEQ_CST);

		while (__atomic_load_n(&rounds[i], __ATOMIC_SEQ_CST) == before)
			sched_yield();
	}
}

int main(void)
{
	pthread_t threads[THREADS];
	unsigned long calls = 0;

	stock = stock_sites;
	CHECK(answer(1) == 2);
	for (unsigned i = 0; i < THREADS; i++)
		CHECK(pthread_create(&threads[i], NULL, call, &rounds[i]) == 0);
	for (unsigned i = 0; i < CYCLES; i++) {
		apply(1, PATCH_PATH, false, stock_functions, stock_pairs);
		CHECK(stock_plain(10) == 1010 && stock_pushes(nothing, NULL, 10) == 1010);
		revert(1);
		CHECK(stock_plain(10) == 11 && stock_pushes(nothing, NULL, 10) == 14);
		settled = (uint32_t)STATE->domains[0].universe;
		settled_keeps = STATE->domains[0].keeps;
		wait_until_all_were_outside();
		settle(1);
		settled = 0;
		CHECK(*(const unsigned char *)stock_plain == 0xb8);
	}
	over = true;
	for (unsigned i = 0; i < THREADS; i++) {
		void *done;

		CHECK(pthread_join(threads[i], &done) == 0);
		calls += (unsigned long)done;
	}
	printf("%lu rounds of calls, %lu wrong results\n", calls, wrong);
	CHECK(calls > 0 && wrong == 0);
	return 0;
}
