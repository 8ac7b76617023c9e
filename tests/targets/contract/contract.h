/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef CONTRACT_H
#define CONTRACT_H

/*
 * Makes a record and uses it, several times, and tells which layout it had:
 * 1 old, 2 new, -1 when a function of one universe met a record of another.
 */
int transact(long seed);

/* Likewise, with a call of the application between making and using. */
int transact_around(long seed, void (*between)(void *), void *argument);

#endif
