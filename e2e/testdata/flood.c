/* Sends questions for a name to 169.254.169.250 as fast as it can, for some seconds, and prints how many. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

int main(int argc, char **argv) {
	static const char question[] = "\0\1\1\0\0\1\0\0\0\0\0\0\3web\0\0\1\0\1";
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(53)};
	int s = socket(AF_INET, SOCK_DGRAM, 0);
	time_t end = time(0) + atoi(argv[argc - 1]);
	long sent = 0;
	inet_pton(AF_INET, "169.254.169.250", &to.sin_addr);
	while (time(0) < end)
		for (int i = 0; i < 1000; i++)
			sent += sendto(s, question, sizeof question - 1, MSG_DONTWAIT, (struct sockaddr *)&to, sizeof to) > 0;
	printf("%ld\n", sent);
	return 0;
}
