/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef EXCEPTIONS_H
#define EXCEPTIONS_H

extern "C" {

/* Always throws std::runtime_error, whose text is the version. */
int inner(int number);

/* Calls inner, with an object on its frame. */
int outer(int number);

/* Calls the application back, with an object on its frame. */
int around(int (*callback)(void *), void *argument);

/* Catches what inner throws, and returns the version that its text gives. */
int catching(int number);

/* Objects made and destroyed so far on the library's frames, old and new. */
extern int objects_made;
extern int objects_destroyed;
}

struct FrameObject {
	FrameObject()
	{
		__atomic_fetch_add(&objects_made, 1, __ATOMIC_SEQ_CST);
	}
	~FrameObject()
	{
		__atomic_fetch_add(&objects_destroyed, 1, __ATOMIC_SEQ_CST);
	}
};

#endif
