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

/* `next` starts no earlier than the last one. Where the two overlap or touch, they become one. */
static void append(struct ulp_bodies *bodies, const struct ulp_body *next)
{
	struct ulp_body *last = bodies->count ? &array(bodies)[bodies->count - 1] : NULL;

	if (!last || next->start > last->end)
		array(bodies)[bodies->count++] = *next;
	else if (next->end > last->end)
		last->end = next->end;
}

static struct ulp_body absolute(const struct ulp_library *program, const struct ulp_body *body)
{
	return (struct ulp_body){.start = program->base + body->start,
				 .end = program->base + body->end};
}

/* Both are ascending. */
static void merge(struct ulp_bodies *all, const struct ulp_bodies *known,
		  const struct ulp_library *program, const struct ulp_body *bodies, uint32_t count)
{
	uint64_t known_count = known ? known->count : 0, i = 0;
	uint32_t k = 0;

	while (i < known_count || k < count) {
		struct ulp_body next = k < count ? absolute(program, &bodies[k])
						 : (struct ulp_body){.start = UINT64_MAX};

		if (i < known_count && array(known)[i].start <= next.start) {
			append(all, &array(known)[i++]);
		} else {
			append(all, &next);
			k++;
		}
	}
}

bool ulp_bodies_add(struct ulp_library *program, const struct ulp_body *bodies, uint32_t count,
		    bool *more)
{
	const struct ulp_bodies *known = bodies_of(program);
	struct ulp_bodies *all;
	bool all_covered = true;

	for (uint32_t i = 0; i < count && all_covered; i++) {
		const struct ulp_body body = absolute(program, &bodies[i]);

		all_covered = covered(known, &body);
	}
	if (all_covered)
		return true;
	all = malloc(sizeof *all + ((known ? known->count : 0) + count) * sizeof(struct ulp_body));
	if (!all)
		return false;
	all->count = 0;
	merge(all, known, program, bodies, count);
	*more = true;
	/* Whoever looks at the smaller one may do so for long: it is never given back. */
	__atomic_store_n(&program->bodies, (uint64_t)all, __ATOMIC_RELEASE);
	return true;
}
