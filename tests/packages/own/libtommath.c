// Copyright: (c) 2026, libpulp.livepatch contributors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
// The sizes below zero that the fix is for are refused, and multiplying and reducing are right.
#include <stdio.h>
#include <string.h>
#include <tommath.h>

int main(void)
{
	mp_int a, b, c, mu;
	char text[64];
	int i;

	if (mp_init_multi(&a, &b, &c, &mu, NULL) != MP_OKAY)
		return 1;
	mp_set(&a, 5);
	if (mp_2expt(&b, -1) != MP_VAL || mp_grow(&b, -1) != MP_VAL ||
	    mp_mul_2d(&a, -1, &b) != MP_VAL)
		return 2;
	if (mp_init_size(&mu, -1) != MP_VAL)
		return 3;
	if (mp_mul_2d(&a, 70, &b) != MP_OKAY || mp_2expt(&c, 70) != MP_OKAY ||
	    mp_mul(&a, &c, &a) != MP_OKAY || mp_cmp(&a, &b) != MP_EQ)
		return 4;
	// Both kinds of multiplying: with few digits, and with more than the fast one takes.
	for (i = 200; i <= 40000; i *= 200) {
		if (mp_2expt(&a, i) != MP_OKAY || mp_decr(&a) != MP_OKAY ||
		    mp_sqr(&a, &b) != MP_OKAY || mp_copy(&a, &c) != MP_OKAY ||
		    mp_mul(&a, &c, &c) != MP_OKAY || mp_cmp(&b, &c) != MP_EQ)
			return 5;
		// Barrett's: (m - 1) squared is 1 modulo m.
		if (mp_reduce_setup(&mu, &a) != MP_OKAY || mp_copy(&a, &b) != MP_OKAY ||
		    mp_decr(&b) != MP_OKAY || mp_mul(&b, &b, &b) != MP_OKAY ||
		    mp_reduce(&b, &a, &mu) != MP_OKAY || mp_cmp_d(&b, 1) != MP_EQ)
			return 6;
	}
	if (mp_read_radix(&a, "123456789012345678901234567890", 10) != MP_OKAY ||
	    mp_to_radix(&a, text, sizeof text, NULL, 10) != MP_OKAY ||
	    strcmp(text, "123456789012345678901234567890") != 0)
		return 7;
	mp_clear_multi(&a, &b, &c, &mu, NULL);
	return 0;
}
