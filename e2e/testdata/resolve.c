/* Prints the IPv4 addresses that the C library's resolver finds for a name, and fails if there are none. */
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

int main(int argc, char **argv) {
	struct addrinfo hints, *all, *a;
	char text[INET_ADDRSTRLEN];
	memset(&hints, 0, sizeof hints);
	hints.ai_family = AF_UNSPEC; /* asks for A and AAAA, as programs do */
	hints.ai_socktype = SOCK_STREAM;
	int err = getaddrinfo(argv[argc - 1], "80", &hints, &all);
	if (err) {
		fprintf(stderr, "%s\n", gai_strerror(err));
		return 1;
	}
	for (a = all; a; a = a->ai_next)
		if (a->ai_family == AF_INET)
			puts(inet_ntop(AF_INET, &((struct sockaddr_in *)a->ai_addr)->sin_addr, text, sizeof text));
	return 0;
}
