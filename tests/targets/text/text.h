/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef TEXT_H
#define TEXT_H

#define TEXT_KINDS 12

int first(void);
int named(void);
int alias(void);
int weak(void);
int versioned(void);
int chosen(void);
int crossing(int deep);
int at_the_edge(void);
int last(void);

/* The results of all kinds, called from inside the library; one more than TEXT_KINDS is written: 0. */
void each(int *results);

/* Calls all of the 300: how many gave 1, and how many 2. */
void whole(int *counts);

#endif
