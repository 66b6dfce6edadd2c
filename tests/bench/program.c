/* The programs that the inits run while they are measured. In C, so that the time is the init's.
 *
 *   program listener                  at each USR1 writes its CLOCK_MONOTONIC (ns, 8 bytes) to stdout
 *   program orphans N                 makes N orphans; writes the seconds until the last was reaped, and how many were not
 *   program crowd N handler|ignore|mixed ends|waits
 *                                     N sleeping children that handle TERM, ignore it, or (mixed) one in ten handles it and
 *                                     the others leave it alone; then writes 8 bytes. The main process itself ends of TERM,
 *                                     and writes its CLOCK_MONOTONIC then, or (waits) has no handler and waits for its children
 */
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * UINT64_C(1000000000) + t.tv_nsec;
}

static void put(uint64_t value)
{
	if (write(STDOUT_FILENO, &value, sizeof value) != sizeof value)
		_exit(1);
}

static void handle(int number, void (*handler)(int))
{
	struct sigaction action;

	memset(&action, 0, sizeof action);
	action.sa_handler = handler;
	sigaction(number, &action, NULL);
}

static pid_t forked(void)
{
	pid_t pid = fork();

	if (pid < 0) {
		perror("fork");
		exit(1);
	}
	return pid;
}

static void on_usr1(int number)
{
	(void)number;
	put(now());
}

static int listener(void)
{
	handle(SIGUSR1, on_usr1);
	put(now());
	while (pause())
		;
	return 0;
}

/* How many children the init has beside this process. */
static int others(void)
{
	char path[64];
	FILE *file;
	int pid, count = 0;

	snprintf(path, sizeof path, "/proc/%d/task/%d/children", getppid(), getppid());
	file = fopen(path, "r");
	if (!file) {
		perror(path);
		exit(1);
	}
	while (fscanf(file, "%d", &pid) == 1)
		count += pid != getpid();
	fclose(file);
	return count;
}

static int orphans(int count)
{
	const struct timespec moment = { 0, 1000000 };
	uint64_t start = now(), made;
	int i, left;

	for (i = 0; i < count; i++) {
		pid_t child = forked();

		if (child == 0) {
			forked();
			_exit(0);
		}
		waitpid(child, NULL, 0);
	}
	made = now();
	while ((left = others()) && now() - made < UINT64_C(5000000000))
		nanosleep(&moment, NULL);
	printf("%.6f %d\n", (now() - start) / 1e9, left);
	return 0;
}

static void end(int number)
{
	(void)number;
	_exit(0);
}

static void end_and_say(int number)
{
	(void)number;
	put(now());
	_exit(0);
}

static int crowd(int count, const char *kind, int waits)
{
	int i;

	for (i = 0; i < count; i++) {
		/* Before the fork: no child is ever there without the disposition it shall have. */
		if (!strcmp(kind, "ignore"))
			handle(SIGTERM, SIG_IGN);
		else
			handle(SIGTERM, !strcmp(kind, "handler") || i % 10 == 0 ? end : SIG_DFL);
		if (forked() == 0)
			while (pause())
				;
	}
	handle(SIGTERM, waits ? SIG_DFL : end_and_say);
	put(now());
	while (waits ? wait(NULL) > 0 || errno == EINTR : pause())
		;
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "listener"))
		return listener();
	if (argc == 3 && !strcmp(argv[1], "orphans"))
		return orphans(atoi(argv[2]));
	if (argc == 5 && !strcmp(argv[1], "crowd"))
		return crowd(atoi(argv[2]), argv[3], !strcmp(argv[4], "waits"));
	fprintf(stderr, "usage: program listener | orphans N | crowd N handler|ignore|mixed ends|waits\n");
	return 2;
}
