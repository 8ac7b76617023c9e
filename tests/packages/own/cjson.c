// Copyright: (c) 2026, libpulp.livepatch contributors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
// What is parsed, changed and printed again is what it should be. cJSON's own tests contain a copy of its source.
#include "cJSON.h"
#include <stdlib.h>
#include <string.h>

static int prints(const cJSON *value, const char *wanted)
{
	char *text = cJSON_PrintUnformatted(value);
	int same = text != NULL && strcmp(text, wanted) == 0;

	free(text);
	return same;
}

int main(void)
{
	static const char *const same[] = {
		"null",
		"true",
		"-1.5",
		"1e+60",
		"[]",
		"{}",
		"[1,[2,[3,[]]]]",
		"\"a\\\"b\\\\c\\n\"",
		"{\"a\":{\"b\":[false,0.1]},\"c\":\"\"}",
	};
	static const char *const wrong[] = {"", "[1,", "{\"a\"}", "\"\\uD800\"", "tru", "[1]]"};
	cJSON *array = cJSON_Parse("[\"one\",\"three\"]"), *string;
	size_t i;
	int n;

	for (i = 0; i < sizeof same / sizeof *same; i++) {
		cJSON *value = cJSON_Parse(same[i]);

		if (!prints(value, same[i]))
			return 1;
		cJSON_Delete(value);
	}
	for (i = 0; i < sizeof wrong / sizeof *wrong; i++)
		if (cJSON_ParseWithOpts(wrong[i], NULL, 1) != NULL)
			return 2;
	// Not between two, which Debian's null checks refuse.
	if (!cJSON_InsertItemInArray(array, 9, cJSON_CreateString("two")) ||
	    !cJSON_InsertItemInArray(array, 0, cJSON_CreateNumber(0)) ||
	    !prints(array, "[0,\"one\",\"three\",\"two\"]"))
		return 3;
	string = cJSON_GetArrayItem(array, 1);
	if (strcmp(cJSON_SetValuestring(string, "1"), "1") != 0 ||
	    strcmp(cJSON_SetValuestring(string, "a longer one"), "a longer one") != 0 ||
	    cJSON_SetValuestring(cJSON_GetArrayItem(array, 0), "no string") != NULL ||
	    !prints(array, "[0,\"a longer one\",\"three\",\"two\"]"))
		return 4;
	cJSON_Delete(array);
	// Numbers of each length that one may have.
	for (n = 1; n < 60; n++) {
		char digits[64] = {0};
		cJSON *number;

		memset(digits, '7', (size_t)n);
		number = cJSON_Parse(digits);
		if (!cJSON_IsNumber(number) || number->valuedouble != strtod(digits, NULL))
			return 5;
		cJSON_Delete(number);
	}
	return 0;
}
