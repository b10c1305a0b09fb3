// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * A program that shares memory of its own with OP-TEE, as libteec does: it registers two buffers of a random size,
 * alignment and layout, has a service inside OP-TEE read the one and write the other, looks at every byte, and gives them
 * back. A buffer's pages lie next to each other, or are mapped backwards, so that no two of them make one constituent.
 *
 * usage: sharer THREADS CYCLES SEED
 */
#define _GNU_SOURCE
#include <arm_neon.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/tee.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096UL
#define MIB (1024 * 1024UL)
/* What one of four threads shares at most: OP-TEE has 32 MiB of addresses for all of them. */
#define MOST (2 * MIB)
/* What a thread alone shares at most. */
#define MOST_ALONE (8 * MIB)

/* OP-TEE's service `invoke_tests.pta`, which it has with CFG_ENABLE_EMBEDDED_TESTS=y. */
static const uint8_t service[TEE_IOCTL_UUID_LEN] = { 0xd9, 0x6a, 0x5b, 0x40, 0xc3, 0xe5, 0x21, 0xe3,
						     0x87, 0x94, 0x10, 0x02, 0xa5, 0xd5, 0xc6, 0x1b };
/* Adds up all bytes of a buffer, and leaves the sum in its first byte. */
#define SUM 1
/* Encrypts a buffer to another one: with AES in counter mode, and a key and a counter that the service has. */
#define ENCRYPT 9
#define AES_CTR 2
#define KEY_BITS 128

struct thread {
	pthread_t id;
	unsigned int number;
	unsigned long cycles, most;
	uint64_t random;
	/* What it did. */
	unsigned long shared, bytes, constituents, most_constituents;
	bool failed;
};

/* What counter mode adds to the bytes of a buffer, from its first one on. */
static uint8_t stream[MOST_ALONE];

/* A substitution of each byte of a word, as the key's expansion has it. */
static uint32_t substitute(uint32_t word)
{
	/* Four equal columns: the shift of the rows changes nothing. */
	uint8x16_t state = vreinterpretq_u8_u32(vdupq_n_u32(word));

	return vgetq_lane_u32(vreinterpretq_u32_u8(vaeseq_u8(state, vdupq_n_u8(0))), 0);
}

/* Fills `stream` as FIPS 197 and SP 800-38A say, with the key and counter of OP-TEE's core/pta/tests/aes_perf.c. */
static void make_stream(void)
{
	uint32_t words[44];
	uint8_t round = 1;
	uint8_t counter[16];

	for (unsigned int i = 0; i < 16; i++) {
		((uint8_t *)words)[i] = i;
		counter[i] = 0xa0 + i;
	}
	for (unsigned int i = 4; i < 44; i++) {
		uint32_t word = words[i - 1];

		if (i % 4 == 0) {
			word = substitute(word >> 8 | word << 24) ^ round;
			round = round << 1 ^ (round & 0x80 ? 0x1b : 0);
		}
		words[i] = words[i - 4] ^ word;
	}
	for (unsigned long at = 0; at < sizeof(stream); at += 16) {
		uint8x16_t state = vld1q_u8(counter);

		for (unsigned int i = 0; i < 9; i++)
			state = vaesmcq_u8(vaeseq_u8(state, vld1q_u8((uint8_t *)&words[4 * i])));
		state = veorq_u8(vaeseq_u8(state, vld1q_u8((uint8_t *)&words[36])), vld1q_u8((uint8_t *)&words[40]));
		vst1q_u8(stream + at, state);
		for (unsigned int i = 16; i-- > 0 && ++counter[i] == 0;)
			;
	}
}

/* xorshift64*, of which the upper half is good. */
static uint32_t random_number(struct thread *thread, uint32_t below)
{
	thread->random ^= thread->random >> 12;
	thread->random ^= thread->random << 25;
	thread->random ^= thread->random >> 27;
	return (thread->random * 0x2545f4914f6cdd1dUL >> 32) % below;
}

struct buffer {
	/* Whole pages, one of them more on each side; and what is shared of them. */
	uint8_t *pages, *start;
	unsigned long mapped, length;
	/* What OP-TEE's driver calls it; -1 while it is not registered. */
	int fd, id;
};

/* Maps a buffer with other pages on both sides of it; backwards: each page comes before its neighbour in the file. */
static bool map(struct buffer *buffer, unsigned long offset, unsigned long length, bool backwards)
{
	unsigned long pages = (offset + length + PAGE - 1) / PAGE + 2;
	int file = memfd_create("buffer", 0);

	buffer->mapped = pages * PAGE;
	buffer->length = length;
	buffer->fd = -1;
	buffer->pages = mmap(NULL, buffer->mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (file < 0 || ftruncate(file, buffer->mapped) != 0 || buffer->pages == MAP_FAILED)
		return false;
	buffer->start = buffer->pages + PAGE + offset;
	/* The file's pages come into being in their order. */
	for (unsigned long i = 0; i < pages; i++)
		if (pwrite(file, "", 1, i * PAGE) != 1)
			return false;
	for (unsigned long i = 0; i < (backwards ? pages : 1); i++)
		if (mmap(buffer->pages + i * PAGE, backwards ? PAGE : buffer->mapped, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file,
			 backwards ? (pages - 1 - i) * PAGE : 0) == MAP_FAILED)
			return false;
	close(file);
	return true;
}

static void unmap(struct buffer *buffer)
{
	if (buffer->fd >= 0)
		close(buffer->fd);
	munmap(buffer->pages, buffer->mapped);
}

/* How many constituents a registered buffer has: runs of pages that follow each other in physical memory; 0 if unknown. */
static unsigned long constituents(const struct buffer *buffer)
{
	int map = open("/proc/self/pagemap", O_RDONLY);
	uintptr_t first = (uintptr_t)buffer->start / PAGE;
	uintptr_t last = ((uintptr_t)buffer->start + buffer->length - 1) / PAGE;
	uint64_t before = 0;
	unsigned long runs = 0;

	for (uintptr_t page = first; page <= last; page++) {
		uint64_t entry;

		if (pread(map, &entry, sizeof(entry), page * sizeof(entry)) != sizeof(entry) || !(entry >> 63)) {
			runs = 0;
			break;
		}
		entry &= (1UL << 55) - 1;
		if (entry != before + 1 || runs == 0)
			runs++;
		before = entry;
	}
	close(map);
	return runs;
}

static bool share(struct thread *thread, int tee, struct buffer *buffer)
{
	struct tee_ioctl_shm_register_data data = { .addr = (uintptr_t)buffer->start, .length = buffer->length };
	unsigned long runs;

	buffer->fd = ioctl(tee, TEE_IOC_SHM_REGISTER, &data);
	if (buffer->fd < 0)
		return false;
	buffer->id = data.id;
	runs = constituents(buffer);
	thread->shared++;
	thread->bytes += buffer->length;
	thread->constituents += runs;
	if (runs > thread->most_constituents)
		thread->most_constituents = runs;
	return runs != 0;
}

static int open_session(int tee, uint32_t *session)
{
	union {
		struct tee_ioctl_open_session_arg arg;
		uint64_t room[16];
	} call = { .arg = { .clnt_login = TEE_IOCTL_LOGIN_PUBLIC } };
	struct tee_ioctl_buf_data data = { .buf_ptr = (uintptr_t)&call, .buf_len = sizeof(call.arg) };

	memcpy(call.arg.uuid, service, sizeof(service));
	if (ioctl(tee, TEE_IOC_OPEN_SESSION, &data) != 0)
		return -errno;
	*session = call.arg.session;
	return call.arg.ret;
}

/* Invokes a function of the service: 0, or its result, or an error of the driver. */
static int invoke(int tee, uint32_t session, uint32_t function, const struct tee_ioctl_param params[4])
{
	struct {
		struct tee_ioctl_invoke_arg arg;
		struct tee_ioctl_param params[4];
	} call = { .arg = { .func = function, .session = session, .num_params = 4 } };
	struct tee_ioctl_buf_data data = { .buf_ptr = (uintptr_t)&call, .buf_len = sizeof(call) };

	memcpy(call.params, params, sizeof(call.params));
	if (ioctl(tee, TEE_IOC_INVOKE, &data) != 0)
		return -errno;
	return call.arg.ret;
}

#define MEMORY(buffer)                                                                                                            \
	{                                                                                                                         \
		.attr = TEE_IOCTL_PARAM_ATTR_TYPE_MEMREF_INOUT, .b = (buffer)->length, .c = (buffer)->id                          \
	}
#define VALUE(first, second)                                                                                                      \
	{                                                                                                                         \
		.attr = TEE_IOCTL_PARAM_ATTR_TYPE_VALUE_INPUT, .a = (first), .b = (second)                                        \
	}

/* Whether all bytes outside of what is shared, in the pages around it, are as they were. */
static bool untouched(const struct buffer *buffer, uint8_t filling)
{
	for (const uint8_t *at = buffer->pages; at < buffer->pages + buffer->mapped; at++)
		if ((at < buffer->start || at >= buffer->start + buffer->length) && *at != filling)
			return false;
	return true;
}

/* One cycle; NULL, or what is wrong. */
static const char *exchange(struct thread *thread, int tee, uint32_t session, struct buffer *from, struct buffer *to)
{
	unsigned long length = from->length;
	uint8_t first, sum = 0, outside = random_number(thread, 256);
	uint32_t word = random_number(thread, UINT32_MAX);

	memset(from->pages, outside, from->mapped);
	memset(to->pages, outside, to->mapped);
	for (unsigned long i = 0; i < length; i++) {
		word = word * 1664525 + 1013904223;
		from->start[i] = word >> 24;
		sum += from->start[i];
	}
	first = from->start[0];
	if (!share(thread, tee, from) || !share(thread, tee, to))
		return "the driver does not share a buffer";

	const struct tee_ioctl_param add[4] = { MEMORY(from) };
	if (invoke(tee, session, SUM, add) != 0)
		return "the service does not add";
	if (from->start[0] != sum)
		return "the service read something else";
	from->start[0] = first;

	const struct tee_ioctl_param encrypt[4] = { VALUE(KEY_BITS, AES_CTR), VALUE(1, length), MEMORY(from), MEMORY(to) };
	if (invoke(tee, session, ENCRYPT, encrypt) != 0)
		return "the service does not encrypt";
	for (unsigned long i = 0; i < length; i++)
		if (to->start[i] != (from->start[i] ^ stream[i]))
			return "the service wrote something else, or elsewhere";
	sum -= first;
	for (unsigned long i = 1; i < length; i++)
		sum -= from->start[i];
	if (sum != 0 || !untouched(from, outside) || !untouched(to, outside))
		return "the service wrote where it should not";
	return NULL;
}

static bool cycle(struct thread *thread, int tee, uint32_t session, unsigned long number)
{
	/* Few large ones among many small ones; each second one of whole pages. */
	unsigned long most = number % 32 == 0 ? thread->most : number % 8 == 0 ? 64 * PAGE : 4 * PAGE;
	unsigned long length = 1 + random_number(thread, most);
	unsigned long from_offset = random_number(thread, PAGE), to_offset = random_number(thread, PAGE);
	bool from_backwards = random_number(thread, 4) != 0, to_backwards = random_number(thread, 4) != 0;
	struct buffer from, to;
	const char *wrong = "there is no memory";

	if (number % 2 == 0) {
		length = (length + PAGE - 1) / PAGE * PAGE;
		from_offset = to_offset = 0;
	}
	if (map(&from, from_offset, length, from_backwards) && map(&to, to_offset, length, to_backwards))
		wrong = exchange(thread, tee, session, &from, &to);
	if (wrong != NULL) {
		printf("thread %u, cycle %lu: %lu bytes at offset %#lx%s to %#lx%s: %s\n", thread->number, number, length, from_offset,
		       from_backwards ? " backwards" : "", to_offset, to_backwards ? " backwards" : "", wrong);
		return false;
	}
	unmap(&from);
	unmap(&to);
	return true;
}

static void *run(void *argument)
{
	struct thread *thread = argument;
	int tee = open("/dev/tee0", O_RDWR);
	uint32_t session = 0;
	int result = tee < 0 ? -errno : open_session(tee, &session);

	if (result != 0) {
		printf("thread %u: no session with the service: %#x\n", thread->number, result);
		thread->failed = true;
	}
	for (unsigned long i = 0; i < thread->cycles && !thread->failed; i++)
		thread->failed = !cycle(thread, tee, session, i);
	if (tee >= 0)
		close(tee);
	return NULL;
}

/* Runs so many threads, and says what they did; whether all went well. */
static bool run_all(unsigned int threads, unsigned long cycles, unsigned long most, uint64_t seed)
{
	struct thread thread[threads];
	struct thread all = { 0 };

	memset(thread, 0, sizeof(thread));
	for (unsigned int i = 0; i < threads; i++) {
		thread[i].number = i;
		thread[i].cycles = cycles;
		thread[i].most = most;
		/* Never zero. */
		thread[i].random = (seed * 1000 + i) * 0x9e3779b97f4a7c15UL | 1;
		if (pthread_create(&thread[i].id, NULL, run, &thread[i]) != 0)
			return false;
	}
	for (unsigned int i = 0; i < threads; i++) {
		pthread_join(thread[i].id, NULL);
		all.failed |= thread[i].failed;
		all.shared += thread[i].shared;
		all.bytes += thread[i].bytes;
		all.constituents += thread[i].constituents;
		if (thread[i].most_constituents > all.most_constituents)
			all.most_constituents = thread[i].most_constituents;
	}
	printf("%u threads: %lu buffers shared, %lu MiB, %lu constituents, %lu at most in one\n", threads, all.shared, all.bytes / MIB,
	       all.constituents, all.most_constituents);
	/* More than a descriptor of one page has room for: it came in fragments. */
	return !all.failed && all.most_constituents > PAGE / 16;
}

int main(int argc, char **argv)
{
	unsigned int threads = argc > 1 ? strtoul(argv[1], NULL, 0) : 4;
	unsigned long cycles = argc > 2 ? strtoul(argv[2], NULL, 0) : 1000;
	uint64_t seed = argc > 3 ? strtoul(argv[3], NULL, 0) : 1;

	setvbuf(stdout, NULL, _IOLBF, 0);
	make_stream();
	/* The larger ones one after the other, then all threads at once. */
	return run_all(1, 65, MOST_ALONE, seed) && run_all(threads, cycles, MOST, seed + 1) ? EXIT_SUCCESS : EXIT_FAILURE;
}
