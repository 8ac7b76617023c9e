/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>

#include "runtime/bodies.h"

static const struct ulp_bodies *bodies_of(const struct ulp_library *program)
{
	return (const struct ulp_bodies *)__atomic_load_n(&program->bodies, __ATOMIC_ACQUIRE);
}

static struct ulp_body *array(const struct ulp_bodies *bodies)
{
	return (struct ulp_body *)(bodies + 1);
}

/* The body that `address` lies in, or NULL: they are ascending and disjoint. */
static const struct ulp_body *find(const struct ulp_bodies *bodies, uint64_t address)
{
	uint64_t low = 0, high = bodies ? bodies->count : 0;

	while (low < high) {
		uint64_t middle = low + (high - low) / 2;
		const struct ulp_body *body = &array(bodies)[middle];

		if (address < body->start)
			high = middle;
		else if (address >= body->end)
			low = middle + 1;
		else
			return body;
	}
	return NULL;
}

bool ulp_bodies_hold(const struct ulp_library *program, uint64_t address)
{
	return find(bodies_of(program), address);
}

static bool covered(const struct ulp_bodies *known, const struct ulp_body *body)
{
	const struct ulp_body *around = find(known, body->start);

	return around && body->end <= around->end;
}

static int by_start(const void *a, const void *b)
{
	uint64_t x = ((const struct ulp_body *)a)->start, y = ((const struct ulp_body *)b)->start;

	return x < y ? -1 : x > y;
}

/* Where two overlap or touch, they become one. */
static void join(struct ulp_bodies *bodies)
{
	struct ulp_body *body = array(bodies);
	uint64_t last = 0;

	qsort(body, bodies->count, sizeof *body, by_start);
	for (uint64_t i = 1; i < bodies->count; i++) {
		if (body[i].start > body[last].end)
			body[++last] = body[i];
		else if (body[i].end > body[last].end)
			body[last].end = body[i].end;
	}
	bodies->count = last + 1;
}

bool ulp_bodies_add(struct ulp_library *program, const struct ulp_body *bodies, uint32_t count,
		    bool *more)
{
	const struct ulp_bodies *known = bodies_of(program);
	uint64_t known_count = known ? known->count : 0;
	struct ulp_bodies *all =
		malloc(sizeof *all + (known_count + count) * sizeof(struct ulp_body));

	if (!all)
		return false;
	all->count = known_count;
	for (uint64_t i = 0; i < known_count; i++)
		array(all)[i] = array(known)[i];
	for (uint32_t i = 0; i < count; i++) {
		const struct ulp_body body = {.start = program->base + bodies[i].start,
					      .end = program->base + bodies[i].end};

		if (!covered(known, &body))
			array(all)[all->count++] = body;
	}
	if (all->count == known_count) {
		free(all);
		return true;
	}
	join(all);
	*more = true;
	/* Whoever looks at the smaller one may do so for long: it is never given back. */
	__atomic_store_n(&program->bodies, (uint64_t)all, __ATOMIC_RELEASE);
	return true;
}
