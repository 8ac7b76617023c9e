/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef JUMPING_H
#define JUMPING_H

int version(void);

/* Each blocks in read(fd), and goes on by a jump in a function that gives the version: by name, ... */
int relay(int fd, int *entered);

/* ... through a table of pointers, ... */
int relay_by_table(int fd, int *entered);

/* ... in what an IFUNC resolver has chosen, ... */
int relay_by_choice(int fd, int *entered);

/* ... in a seldom executed part of it that the compiler has moved away. */
int relay_seldom(int fd, int *entered);

#endif
