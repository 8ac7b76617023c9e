/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef EDGES_H
#define EDGES_H

/* The first bytes of the library's executable segment are this function's padding. */
int first(void);

/* Ends with the segment's last byte, which is the last of a page. */
int last(void);

/* 10 times first() plus last(), called inside the library. */
int both(void);

#endif
