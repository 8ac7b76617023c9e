/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The runtime's own log: a ring that the core reads (`ulp messages`). It writes nowhere else. */
#ifndef ULP_MESSAGE_H
#define ULP_MESSAGE_H

#include <ulp/abi.h>

extern struct ulp_messages ulp_messages;

__attribute__((format(printf, 1, 2))) void ulp_message(const char *format, ...);

#endif
