/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The bootstrap code as a section of libpulp.so that is not loaded: whoever has the file has both. */
#include <cet.h>

	.section .ulp.bootstrap, "", @progbits
	.incbin "bootstrap.bin"
	.section .note.GNU-stack, "", @progbits
