/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A small network service on the loopback address, for the demonstration.  It
 * accepts on one thread and serves its connections, for as long as their
 * clients keep them, on four others.  Requests and answers are lines:
 *
 *   PRICE item quantity   ->  "3 x tea: 3.0"
 *   WHO                   ->  "PID requests"
 *
 * Usage: service ADDRESS-FILE, into which it writes "PORT PID" once it listens.
 */
#include "quote.h"
#include "tally.h"

#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define WORKERS 4
#define LINE    256

struct connection {
	int fd;
	size_t length;
	char line[LINE];
};

static int worker_epoll[WORKERS];

static void die(const char *what)
{
	fprintf(stderr, "service: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* What the service exists for: both libraries are asked for one answer. */
static int answer_to(const char *request, char *answer, size_t size)
{
	char item[64], amount[32];
	long quantity, cents;
	unsigned long count = tally_count();

	if (!strcmp(request, "WHO"))
		return snprintf(answer, size, "%d %lu\n", getpid(), count);
	if (sscanf(request, "PRICE %63s %ld", item, &quantity) != 2)
		return snprintf(answer, size, "what?\n");
	cents = quote_cents(item, quantity);
	if (cents < 0)
		return snprintf(answer, size, "no %s\n", item);
	tally_format(amount, sizeof(amount), cents);
	return snprintf(answer, size, "%ld x %s: %s\n", quantity, item, amount);
}

static void hang_up(struct connection *connection)
{
	close(connection->fd);
	free(connection);
}

/* Answers every complete line that came; 0 when the connection is over. */
static int serve(struct connection *connection)
{
	char *end;
	ssize_t count = read(connection->fd, connection->line + connection->length,
			     LINE - 1 - connection->length);

	if (count <= 0)
		return count < 0 && (errno == EINTR || errno == EAGAIN);
	connection->length += (size_t)count;
	connection->line[connection->length] = '\0';
	while ((end = strchr(connection->line, '\n'))) {
		char answer[LINE];
		int length;

		*end = '\0';
		length = answer_to(connection->line, answer, sizeof(answer));
		if (write(connection->fd, answer, (size_t)length) != length)
			return 0;
		connection->length -= (size_t)(end + 1 - connection->line);
		memmove(connection->line, end + 1, connection->length + 1);
	}
	return connection->length < LINE - 1;
}

static void *work(void *argument)
{
	int epoll = *(int *)argument;

	for (;;) {
		struct epoll_event event;
		int count = epoll_wait(epoll, &event, 1, -1);

		if (count < 0 && errno != EINTR)
			die("epoll_wait");
		if (count == 1 && !serve(event.data.ptr))
			hang_up(event.data.ptr);
	}
	return NULL;
}

static void hand_over(int fd, int epoll)
{
	struct connection *connection = calloc(1, sizeof(*connection));
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};

	if (!connection)
		die("calloc");
	connection->fd = fd;
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event))
		die("epoll_ctl");
}

static int listen_on_loopback(int *port)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t size = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) || listen(fd, 16))
		die("listen");
	if (getsockname(fd, (struct sockaddr *)&address, &size))
		die("getsockname");
	*port = ntohs(address.sin_port);
	return fd;
}

static void announce(const char *path, int port)
{
	char temporary[4096];
	FILE *file;

	snprintf(temporary, sizeof(temporary), "%s.new", path);
	file = fopen(temporary, "w");
	if (!file || fprintf(file, "%d %d\n", port, getpid()) < 0 || fclose(file) ||
	    rename(temporary, path))
		die(path);
}

int main(int count, char **arguments)
{
	int port, listener;

	if (count != 2) {
		fprintf(stderr, "usage: %s ADDRESS-FILE\n", arguments[0]);
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	listener = listen_on_loopback(&port);
	for (int i = 0; i < WORKERS; i++) {
		pthread_t thread;

		worker_epoll[i] = epoll_create1(0);
		if (worker_epoll[i] < 0)
			die("epoll_create1");
		errno = pthread_create(&thread, NULL, work, &worker_epoll[i]);
		if (errno)
			die("pthread_create");
	}
	announce(arguments[1], port);
	for (unsigned next = 0;; next++) {
		int fd = accept(listener, NULL, NULL);

		if (fd >= 0)
			hand_over(fd, worker_epoll[next % WORKERS]);
		else if (errno != EINTR && errno != ECONNABORTED)
			die("accept");
	}
}
