/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A patch library for the libexpat of a distribution: an error message that says what to do. */
#define INVALID_TOKEN 4 /* XML_ERROR_INVALID_TOKEN of expat.h */

__attribute__((visibility("default"))) const char *XML_ErrorString_fixed(int code)
{
	return code == INVALID_TOKEN ? "not well-formed; is a bare & meant to be &amp;?"
				     : "not well-formed";
}
