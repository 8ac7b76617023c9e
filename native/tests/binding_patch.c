/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Words that nothing but the runtime gives a value. */
#include <stddef.h>

extern int *hidden_word, *copied_word;
extern int (*hidden_function_word)(void), (*interposed_word)(void);
extern size_t per_thread_words[2];
extern int *const relro_word;
int new_sum(void);
void *__tls_get_addr(size_t *words);

static int of_nobody;
int *hidden_word, *copied_word;
int (*hidden_function_word)(void), (*interposed_word)(void);
size_t per_thread_words[2];
/* The loader fills it in, and makes it read-only. */
int *const relro_word = &of_nobody;

/* One more in each variable, then the sum in the opposite sign. */
int new_sum(void)
{
	int *per_thread = __tls_get_addr(per_thread_words);
	int *const *word = &relro_word;

	/* The compiler is not to know what a constant holds. */
	__asm__("" : "+r"(word));
	++**word;
	++*copied_word;
	++*per_thread;
	return -(*copied_word + *hidden_word + *per_thread + interposed_word() +
		 hidden_function_word());
}
