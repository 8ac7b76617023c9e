/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The layouts that the two versions of make and use agree on: nothing is where the other looks. */
#ifndef RECORD_H
#define RECORD_H

#define RECORD_SIZE 64

struct old_record {
	long seed;
	long inverse;
	long square;
};

struct new_record {
	long square;
	char name[16];
	long inverse;
	long seed;
};

#define OLD_SEED(seed) ((seed) ^ 0x0101010101010101)
#define NEW_SEED(seed) ((seed) ^ 0x2020202020202020)

#endif
