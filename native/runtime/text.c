/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "arch.h"
#include "system_call.h"
#include "runtime/message.h"
#include "runtime/text.h"

static bool membarrier(int command)
{
	return ulp_system_call(SYS_membarrier, command, 0, 0) == 0;
}

static struct ulp_descriptor open_memory(void)
{
	return ulp_descriptor_of(
		(int)ulp_system_call(SYS_openat, AT_FDCWD, "/proc/self/mem", O_RDWR | O_CLOEXEC));
}

enum ulp_error ulp_text_open(struct ulp_text *text)
{
	text->memory.number = -1;
	if (!membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE))
		return ULP_NO_BARRIER;
	text->memory = open_memory();
	return ULP_OK;
}

void ulp_text_close(struct ulp_text *text)
{
	ulp_descriptor_close(&text->memory);
}

bool ulp_text_barrier(void)
{
	return membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE);
}

/*
 * Whether the program itself has made a page writable, as just-in-time compilers do.  FUTEX_WAKE_OP (futex(2)) has the
 * kernel do the second word's "or 0" by one atomic instruction, which other threads don't notice; it fails where the
 * page can't be written.  Where a filter denies the call, the page counts as protected, as code is nearly everywhere.
 */
static bool is_writable(uint64_t page)
{
	uint32_t nobody_waits_here = 0;

	return ulp_system_call(SYS_futex, &nobody_waits_here, FUTEX_WAKE_OP_PRIVATE, 0, 0, page,
			       FUTEX_OP(FUTEX_OP_OR, 0, FUTEX_OP_CMP_EQ, 0)) >= 0;
}

/* What is written counts as written, whether or not the kernel lets us take the right to write away again. */
static void protect_again(uint64_t start, size_t length, bool writable)
{
	if (writable)
		return;
	if (ulp_system_call(SYS_mprotect, start, length, PROT_READ | PROT_EXEC) != 0)
		ulp_message("%u bytes of code at %llx stay writable: mprotect is denied",
			    (unsigned)length, (unsigned long long)start);
}

/* Without /proc: the pages stay executable meanwhile, other threads may be on them. */
static bool write_unprotected(uint64_t address, const void *bytes, size_t size)
{
	uint64_t start = address & ~(ULP_PAGE - 1);
	size_t length = (size_t)(((address + size + ULP_PAGE - 1) & ~(ULP_PAGE - 1)) - start);
	bool first = is_writable(start), last = is_writable(start + length - ULP_PAGE);

	if (ulp_system_call(SYS_mprotect, start, length, PROT_READ | PROT_WRITE | PROT_EXEC) != 0)
		return false;
	/* A single byte is a single store. */
	if (size == 1)
		*(volatile unsigned char *)address = *(const unsigned char *)bytes;
	else
		memcpy((void *)address, bytes, size);
	protect_again(start, ULP_PAGE, first);
	if (length > ULP_PAGE)
		protect_again(start + ULP_PAGE, length - ULP_PAGE, last);
	return true;
}

bool ulp_text_store(uint64_t address, const void *bytes, size_t size)
{
	uint64_t word = address & ~7ull, page = address & ~(ULP_PAGE - 1), value;

	bool writable;

	if (address + size > word + sizeof value)
		return false;
	writable = is_writable(page);
	memcpy(&value, (const void *)word, sizeof value);
	memcpy((unsigned char *)&value + (address - word), bytes, size);
	if (ulp_system_call(SYS_mprotect, page, ULP_PAGE, PROT_READ | PROT_WRITE | PROT_EXEC) != 0)
		return false;
	__atomic_store_n((uint64_t *)word, value, __ATOMIC_SEQ_CST);
	protect_again(page, ULP_PAGE, writable);
	return true;
}

static bool write_through(const struct ulp_descriptor *memory, uint64_t address, const void *bytes,
			  size_t size)
{
	/* Believe the memory, not the call. */
	return ulp_descriptor_is_ours(memory) &&
	       ulp_system_call(SYS_pwrite64, memory->number, bytes, size, address) == (long)size &&
	       memcmp((const void *)address, bytes, size) == 0;
}

bool ulp_text_write(const struct ulp_text *text, uint64_t address, const void *bytes, size_t size)
{
	struct ulp_descriptor another;
	bool written;

	if (write_through(&text->memory, address, bytes, size))
		return true;
	/* The program may have closed it: then one for this write alone. */
	another = open_memory();
	written = write_through(&another, address, bytes, size);
	ulp_descriptor_close(&another);
	return written || write_unprotected(address, bytes, size);
}
