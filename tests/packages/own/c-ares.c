// Copyright: (c) 2026, libpulp.livepatch contributors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
// What each fix of c-ares is for; without it, the program fails. c-ares's own tests want its source
// to be built in another way than Debian builds it. argv[1]: the name of the fix.
#include <ares.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHECK(what)                                                                                \
	do {                                                                                       \
		if (!(what)) {                                                                     \
			printf("line %d: %s\n", __LINE__, #what);                                  \
			return 1;                                                                  \
		}                                                                                  \
	} while (0)

// Texts that are too long for an address or a mask are refused, others are not.
static int sortlist(ares_channel channel)
{
	CHECK(ares_set_sortlist(channel, "10.0.0.0/8 ; 192.168.1.0/255.255.255.0") == ARES_SUCCESS);
	CHECK(ares_set_sortlist(channel, "10.0.0.0 ; 0x123") == ARES_SUCCESS);
	CHECK(ares_set_sortlist(channel, "111.111.111.111*/16") == ARES_EBADSTR);
	CHECK(ares_set_sortlist(channel, "111.111.111.111/255.255.255.240*") == ARES_EBADSTR);
	return 0;
}

static int inet_pton_is(const char *text, const char *wanted)
{
	unsigned char address[16], again[16];

	return ares_inet_pton(AF_INET6, text, address) == 1 &&
	       inet_pton(AF_INET6, wanted, again) == 1 && memcmp(address, again, 16) == 0;
}

// c-ares has its own conversion, which takes a number of bits and leading zeros, as the C library's
// does not.
static int address(void)
{
	unsigned char four[4], six[16];

	CHECK(ares_inet_pton(AF_INET, "10.1.2.3", four) == 1 && memcmp(four, "\12\1\2\3", 4) == 0);
	CHECK(ares_inet_pton(AF_INET, "10.1.2.256", four) != 1);
	CHECK(inet_pton_is("12:34::ff", "12:34::ff"));
	CHECK(inet_pton_is("1234:5678:9abc:def0:1:2:3:4", "1234:5678:9abc:def0:1:2:3:4"));
	CHECK(inet_pton_is("::ffff:1.2.3.4", "::ffff:1.2.3.4"));
	CHECK(ares_inet_pton(AF_INET6, "1:2:3:4:5:6:7:8:9:10", six) != 1);
	CHECK(ares_inet_pton(AF_INET6, "12:34::ffff:1.2.3.4.5", six) != 1);
	CHECK(ares_inet_pton(AF_INET6, "12345::", six) != 1);
	CHECK(inet_pton_is("0::00:00:00/128", "::"));
	return 0;
}

static void answered(void *result, int status, int timeouts, unsigned char *answer, int length)
{
	(void)timeouts;
	(void)answer;
	*(int *)result = status == ARES_SUCCESS ? length : -status;
}

// An empty datagram before the answer does not end the conversation.
static int empty_datagram(ares_channel channel)
{
	struct sockaddr_in self = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(self);
	int server = socket(AF_INET, SOCK_DGRAM, 0), result = 0, asked = 0;
	char name[32];

	CHECK(bind(server, (struct sockaddr *)&self, size) == 0);
	CHECK(getsockname(server, (struct sockaddr *)&self, &size) == 0);
	sprintf(name, "127.0.0.1:%d", ntohs(self.sin_port));
	CHECK(ares_set_servers_ports_csv(channel, name) == ARES_SUCCESS);
	ares_query(channel, "example.com", 1, 1, answered, &result);
	while (result == 0) {
		fd_set readable, writable;
		int highest;

		FD_ZERO(&readable);
		FD_ZERO(&writable);
		highest = ares_fds(channel, &readable, &writable);
		FD_SET(server, &readable);
		if (highest <= server)
			highest = server + 1;
		CHECK(select(highest, &readable, &writable, NULL, NULL) > 0);
		if (FD_ISSET(server, &readable)) {
			static const char address[] = "\300\14\0\1\0\1\0\0\0\74\0\4\1\2\3\4";
			unsigned char text[512];
			struct sockaddr_in from;
			socklen_t length = sizeof(from);
			ssize_t got = recvfrom(server, text, sizeof(text) - 16, 0,
					       (struct sockaddr *)&from, &length);

			// Whoever asks again has taken the empty one for an error.
			CHECK(got > 12 && asked++ == 0);
			text[2] |= 0x80;
			text[7] = 1;
			memcpy(text + got, address, 16);
			CHECK(sendto(server, "", 0, 0, (struct sockaddr *)&from, length) == 0);
			CHECK(sendto(server, text, (size_t)got + 16, 0, (struct sockaddr *)&from,
				     length) == got + 16);
			continue;
		}
		ares_process(channel, &readable, &writable);
	}
	CHECK(result == 12 + 17 + 16);
	close(server);
	return 0;
}

int main(int argc, char **argv)
{
	ares_channel channel;
	const char *fix = argc > 1 ? argv[1] : "";
	int failed = 2;

	CHECK(ares_library_init(ARES_LIB_INIT_ALL) == ARES_SUCCESS);
	CHECK(ares_init(&channel) == ARES_SUCCESS);
	if (strcmp(fix, "CVE-2022-4904.diff") == 0)
		failed = sortlist(channel);
	else if (strcmp(fix, "CVE-2023-31130.diff") == 0)
		failed = address();
	else if (strcmp(fix, "CVE-2023-32067.diff") == 0)
		failed = empty_datagram(channel);
	ares_destroy(channel);
	ares_library_cleanup();
	return failed;
}
