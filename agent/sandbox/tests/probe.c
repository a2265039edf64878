/* Tries system calls from inside a job, each in a process of its own, and
 * prints "NAME ok", "NAME errno N" or "NAME signal N". */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static long compat_getpid(void)
{
	long result = 20; /* getpid of the 32-bit table */
	__asm__ volatile("int $0x80" : "+a"(result) : : "memory");
	return result;
}

#define TRY(name, call)                                                            \
	do {                                                                       \
		fflush(stdout);                                                    \
		pid_t child = fork();                                              \
		if (child == 0)                                                    \
			_exit((long)(call) == -1 ? errno : 0);                     \
		int status = 0;                                                    \
		waitpid(child, &status, 0);                                        \
		if (WIFSIGNALED(status))                                           \
			printf("%s signal %d\n", name, WTERMSIG(status));          \
		else if (WEXITSTATUS(status))                                      \
			printf("%s errno %d\n", name, WEXITSTATUS(status));        \
		else                                                               \
			printf("%s ok\n", name);                                   \
	} while (0)

#define CALL(name, ...) TRY(#name, syscall(SYS_##name, __VA_ARGS__))

int main(void)
{
	CALL(ptrace, 0, 0, 0, 0);
	CALL(process_vm_readv, 1, 0, 0, 0, 0, 0);
	CALL(bpf, 0, 0, 0);
	CALL(keyctl, 0, 0, 0, 0, 0);
	CALL(add_key, 0, 0, 0, 0, 0);
	CALL(userfaultfd, 0);
	CALL(perf_event_open, 0, 0, 0, 0, 0);
	CALL(open_by_handle_at, 0, 0, 0);
	CALL(kexec_load, 0, 0, 0, 0);
	CALL(init_module, 0, 0, 0);
	CALL(finit_module, 0, 0, 0);
	CALL(setns, 0, 0);
	CALL(mount, 0, 0, 0, 0, 0);
	CALL(fsopen, 0, 0);
	CALL(open_tree, 0, 0, 0);
	CALL(move_mount, 0, 0, 0, 0, 0);
	CALL(pivot_root, 0, 0);
	CALL(reboot, 0, 0, 0, 0);
	CALL(unshare, CLONE_NEWUSER);
	TRY("compat", compat_getpid());

	CALL(clone3, 0, 0);
	CALL(io_uring_setup, 1, 0);
	TRY("clone_newuser", syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0));
	TRY("clone_newns", syscall(SYS_clone, CLONE_NEWNS | SIGCHLD, 0, 0, 0, 0));
	TRY("x32", syscall(0x40000000 | SYS_getpid));
	TRY("vsock", socket(AF_VSOCK, SOCK_STREAM, 0));
	TRY("packet", socket(AF_PACKET, SOCK_RAW, 0));
	TRY("alg", socket(38, SOCK_SEQPACKET, 0));
	TRY("netfilter", socket(AF_NETLINK, SOCK_RAW, 12));
	TRY("tiocsti", ioctl(0, TIOCSTI, "x"));
	TRY("personality", syscall(SYS_personality, 0x0400000));

	TRY("inet", socket(AF_INET, SOCK_STREAM, 0));
	TRY("unix", socket(AF_UNIX, SOCK_STREAM, 0));
	TRY("route", socket(AF_NETLINK, SOCK_RAW, 0));
	TRY("clone", syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
	TRY("init_memory", open("/proc/1/mem", O_RDWR));
	TRY("parent_memory", open("/proc/2/mem", O_RDONLY));
	return 0;
}
