/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Threads that use the distribution's zlib and expat, and know every result beforehand.
 *   start N         N threads begin
 *   stop            "ROUNDS WRONG": what all of them have done, and how many results were not what they should be
 *   cycle N FOLDER  the runtime applies and reverts N times (cycles.h); "N"
 */
#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cycles.h"

enum {
	SIZE = 3000,
	ELEMENTS = 20,
	MOST_THREADS = 64,
	TAG_MISMATCH = 7 /* expat.h: XML_ERROR_TAG_MISMATCH */
};

/* As zlib.h and expat.h declare them. */
static unsigned long (*z_adler32)(unsigned long, const unsigned char *, unsigned);
static unsigned long (*z_crc32)(unsigned long, const unsigned char *, unsigned);
static unsigned long (*z_compress_bound)(unsigned long);
static int (*z_compress)(unsigned char *, unsigned long *, const unsigned char *, unsigned long,
			 int);
static int (*z_uncompress)(unsigned char *, unsigned long *, const unsigned char *, unsigned long);
static const char *(*z_version)(void);
static void *(*xml_create)(const char *);
static void (*xml_free)(void *);
static void (*xml_user_data)(void *, void *);
static void (*xml_elements)(void *, void (*)(void *, const char *, const char **),
			    void (*)(void *, const char *));
static void (*xml_text)(void *, void (*)(void *, const char *, int));
static int (*xml_parse)(void *, const char *, int, int);
static int (*xml_error)(void *);
static const char *(*xml_error_string)(int);
static unsigned long (*xml_line)(void *);

static bool stopped;
static unsigned long wrong;

struct worker {
	pthread_t thread;
	unsigned seed;
	unsigned long rounds;
};

static struct worker workers[MOST_THREADS];
static unsigned worker_count;

struct seen {
	unsigned begun, ended, text;
};

static void expect(bool right)
{
	if (!right)
		__atomic_add_fetch(&wrong, 1, __ATOMIC_RELAXED);
}

static void begin(void *data, const char *name, const char **attributes)
{
	(void)attributes;
	((struct seen *)data)->begun += *name == 'e';
}

static void end(void *data, const char *name)
{
	((struct seen *)data)->ended += *name == 'e';
}

static void text(void *data, const char *bytes, int size)
{
	(void)bytes;
	((struct seen *)data)->text += (unsigned)size;
}

static unsigned long adler(const unsigned char *data, unsigned size)
{
	unsigned long a = 1, b = 0;

	for (unsigned i = 0; i < size; i++) {
		a = (a + data[i]) % 65521;
		b = (b + a) % 65521;
	}
	return b << 16 | a;
}

static unsigned long crc(const unsigned char *data, unsigned size)
{
	unsigned remainder = ~0u;

	for (unsigned i = 0; i < size; i++) {
		remainder ^= data[i];
		for (int bit = 0; bit < 8; bit++)
			remainder = remainder >> 1 ^ (remainder & 1 ? 0xedb88320u : 0);
	}
	return ~remainder;
}

static void use_zlib(unsigned seed)
{
	unsigned char data[SIZE], packed[2 * SIZE], again[SIZE];
	unsigned long packed_size = sizeof packed, size = sizeof again;

	for (unsigned i = 0; i < SIZE; i++)
		data[i] = (unsigned char)((i * seed >> 3) ^ i);
	expect(z_adler32(1, data, SIZE) == adler(data, SIZE));
	expect(z_crc32(0, data, SIZE) == crc(data, SIZE));
	expect(z_compress_bound(SIZE) == SIZE + 13);
	expect(*z_version() == '1');
	expect(z_compress(packed, &packed_size, data, SIZE, 1 + (int)(seed % 9)) == 0);
	expect(z_uncompress(again, &size, packed, packed_size) == 0);
	expect(size == SIZE && memcmp(again, data, SIZE) == 0);
}

static void use_expat(unsigned seed)
{
	char document[64 * ELEMENTS] = "<root>\n";
	struct seen seen = {.begun = 0};
	unsigned count = 1 + seed % ELEMENTS;
	void *parser = xml_create(NULL);

	for (unsigned i = 0; i < count; i++)
		strcat(document, "<e a='1'>xyz</e>\n");
	strcat(document, seed & 1 ? "</root>" : "</toor>");
	xml_user_data(parser, &seen);
	xml_elements(parser, begin, end);
	xml_text(parser, text);
	expect(xml_parse(parser, document, (int)strlen(document), 1) == (int)(seed & 1));
	expect(xml_error(parser) == (seed & 1 ? 0 : TAG_MISMATCH));
	expect(seed & 1 || xml_error_string(TAG_MISMATCH));
	expect(seen.begun == count && seen.ended == count && seen.text == 4 * count + 1);
	expect(xml_line(parser) == count + 2);
	xml_free(parser);
}

static void *work(void *argument)
{
	struct worker *worker = argument;

	setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), 19);
	while (!__atomic_load_n(&stopped, __ATOMIC_RELAXED)) {
		use_zlib(worker->seed);
		use_expat(worker->seed);
		worker->seed = worker->seed * 1103515245u + 12345u;
		/* In between it is outside of both. */
		__atomic_add_fetch(&worker->rounds, 1, __ATOMIC_SEQ_CST);
		/* So that nobody waits long for the others' turns. */
		sched_yield();
	}
	return NULL;
}

/* Each has ended one round since, and begun another. */
static void all_were_outside(void)
{
	for (unsigned i = 0; i < worker_count; i++) {
		unsigned long before = __atomic_load_n(&workers[i].rounds, __ATOMIC_SEQ_CST);

		while (__atomic_load_n(&workers[i].rounds, __ATOMIC_SEQ_CST) == before)
			usleep(100);
	}
}

static bool is_patched(void)
{
	bool version = strcmp(z_version(), "1.patched") == 0;

	expect(version == (strcmp(xml_error_string(TAG_MISMATCH), "patched") == 0));
	return version;
}

static void find(void *library, const char *name, void *function)
{
	void *found = dlsym(library, name);

	if (!found)
		exit(2);
	memcpy(function, &found, sizeof found);
}

static void find_all(void)
{
	void *z = dlopen("libz.so.1", RTLD_NOW), *expat = dlopen("libexpat.so.1", RTLD_NOW);

	if (!z || !expat)
		exit(2);
	find(z, "adler32", &z_adler32);
	find(z, "crc32", &z_crc32);
	find(z, "compressBound", &z_compress_bound);
	find(z, "compress2", &z_compress);
	find(z, "uncompress", &z_uncompress);
	find(z, "zlibVersion", &z_version);
	find(expat, "XML_ParserCreate", &xml_create);
	find(expat, "XML_ParserFree", &xml_free);
	find(expat, "XML_SetUserData", &xml_user_data);
	find(expat, "XML_SetElementHandler", &xml_elements);
	find(expat, "XML_SetCharacterDataHandler", &xml_text);
	find(expat, "XML_Parse", &xml_parse);
	find(expat, "XML_GetErrorCode", &xml_error);
	find(expat, "XML_ErrorString", &xml_error_string);
	find(expat, "XML_GetCurrentLineNumber", &xml_line);
}

int main(void)
{
	unsigned long rounds = 0, cycles;
	char line[4096], folder[sizeof line];

	find_all();
	puts("ready");
	for (fflush(stdout); fgets(line, sizeof line, stdin); fflush(stdout)) {
		if (sscanf(line, "start %u", &worker_count) == 1 && worker_count <= MOST_THREADS) {
			for (unsigned i = 0; i < worker_count; i++) {
				workers[i].seed = i + 1;
				if (pthread_create(&workers[i].thread, NULL, work, &workers[i]))
					return 3;
			}
			printf("%u\n", worker_count);
		} else if (strcmp(line, "stop\n") == 0) {
			__atomic_store_n(&stopped, true, __ATOMIC_RELAXED);
			for (unsigned i = 0; i < worker_count; i++) {
				pthread_join(workers[i].thread, NULL);
				rounds += workers[i].rounds;
			}
			printf("%lu %lu\n", rounds, wrong);
		} else if (sscanf(line, "cycle %lu %s", &cycles, folder) == 2) {
			cycle(cycles, folder, all_were_outside, is_patched);
			printf("%lu\n", cycles);
		} else {
			return 0;
		}
	}
	return 0;
}
