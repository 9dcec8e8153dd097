"""The system calls a function may make: names with their numbers on x86_64 and aarch64 ("-": not on that machine).

One list for every provider. What is not here is refused with EPERM, or ENOSYS where a library then takes an older way.
Left out on purpose: mounts and namespaces, ptrace and other processes' memory, io_uring, userfaultfd, bpf, perf events,
keyrings, kernel modules, kexec, swap, quotas, accounting, file handles, clock setting, NUMA policy, native AIO,
System V and POSIX message queues, landlock, extended attribute changes, personality. Also inotify and fanotify: by
them a function could see when its neighbours and the host open the files that all share.

Source: arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h of Linux.
"""

from typing import Final

#: Allowed with any arguments.
PLAIN: Final = {
    "files by descriptor": """
        read=0/63 write=1/64 readv=19/65 writev=20/66 pread64=17/67 pwrite64=18/68 preadv=295/69 pwritev=296/70
        preadv2=327/286 pwritev2=328/287 lseek=8/62 close=3/57 close_range=436/436 dup=32/23 dup2=33/-
        dup3=292/24 flock=73/32 ftruncate=77/46 truncate=76/45 fallocate=285/47 fsync=74/82
        fdatasync=75/83 sync_file_range=277/84 fadvise64=221/223 sendfile=40/71 splice=275/76 tee=276/77
        copy_file_range=326/285 pipe=22/- pipe2=293/59
    """,
    "files by name": """
        open=2/- openat=257/56 openat2=437/437 creat=85/- access=21/- faccessat=269/48 faccessat2=439/439
        stat=4/- lstat=6/- fstat=5/80 newfstatat=262/79 statx=332/291 statfs=137/43 fstatfs=138/44 getdents=78/-
        getdents64=217/61 readlink=89/- readlinkat=267/78 mkdir=83/- mkdirat=258/34 rmdir=84/- unlink=87/-
        unlinkat=263/35 rename=82/- renameat=264/38 renameat2=316/276 link=86/- linkat=265/37 symlink=88/-
        symlinkat=266/36 chmod=90/- fchmod=91/52 fchmodat=268/53 fchmodat2=452/452 chown=92/- fchown=93/55
        lchown=94/- fchownat=260/54 utime=132/- utimes=235/- futimesat=261/- utimensat=280/88 umask=95/166
        chdir=80/49 fchdir=81/50 getcwd=79/17 getxattr=191/8 lgetxattr=192/9 fgetxattr=193/10 listxattr=194/11
        llistxattr=195/12 flistxattr=196/13
    """,
    "waiting": """
        select=23/- pselect6=270/72 poll=7/- ppoll=271/73 epoll_create=213/- epoll_create1=291/20
        epoll_ctl=233/21 epoll_wait=232/- epoll_pwait=281/22 epoll_pwait2=441/441 eventfd=284/- eventfd2=290/19
        signalfd=282/- signalfd4=289/74 timerfd_create=283/85 timerfd_settime=286/86 timerfd_gettime=287/87
    """,
    "memory": """
        brk=12/214 mmap=9/222 munmap=11/215 mprotect=10/226 mremap=25/216 msync=26/227 mincore=27/232
        madvise=28/233 mlock=149/228 mlock2=325/284 munlock=150/229 mlockall=151/230 munlockall=152/231
        memfd_create=319/279 membarrier=324/283 shmget=29/194 shmat=30/196 shmdt=67/197 shmctl=31/195
        semget=64/190 semop=65/193 semctl=66/191 semtimedop=220/192
    """,
    "processes and threads": """
        fork=57/- vfork=58/- execve=59/221 execveat=322/281 exit=60/93 exit_group=231/94 wait4=61/260
        waitid=247/95 gettid=186/178 getpid=39/172 getppid=110/173 getpgid=121/155 setpgid=109/154 getpgrp=111/-
        getsid=124/156 setsid=112/157 set_tid_address=218/96 set_robust_list=273/99 get_robust_list=274/100
        futex=202/98 futex_waitv=449/449 rseq=334/293 arch_prctl=158/- restart_syscall=219/128
        pidfd_open=434/434 pidfd_send_signal=424/424 sched_yield=24/124 sched_getaffinity=204/123
        sched_setaffinity=203/122 sched_getparam=143/121 sched_setparam=142/118 sched_getscheduler=145/120
        sched_setscheduler=144/119 sched_get_priority_max=146/125 sched_get_priority_min=147/126
        sched_rr_get_interval=148/127 sched_getattr=315/275 sched_setattr=314/274 getpriority=140/141
        setpriority=141/140 getrlimit=97/163  getrusage=98/165 times=100/153
        uname=63/160 sysinfo=99/179 getcpu=309/168
    """,
    "signals": """
        kill=62/129 tkill=200/130 tgkill=234/131 rt_sigaction=13/134 rt_sigprocmask=14/135 rt_sigpending=127/136
        rt_sigreturn=15/139 rt_sigsuspend=130/133 rt_sigtimedwait=128/137 rt_sigqueueinfo=129/138
        rt_tgsigqueueinfo=297/240 sigaltstack=131/132 pause=34/-
    """,
    "identity (without capabilities these can only set what is set)": """
        getuid=102/174 geteuid=107/175 getgid=104/176 getegid=108/177 getgroups=115/158 getresuid=118/148
        getresgid=120/150 setuid=105/146 setgid=106/144 setreuid=113/145 setregid=114/143 setresuid=117/147
        setresgid=119/149 capget=125/90
    """,
    "time": """
        time=201/- gettimeofday=96/169 clock_gettime=228/113 clock_getres=229/114 nanosleep=35/101
        clock_nanosleep=230/115 alarm=37/- getitimer=36/102 setitimer=38/103 timer_create=222/107
        timer_settime=223/110 timer_gettime=224/108 timer_getoverrun=225/109 timer_delete=226/111
        getrandom=318/278
    """,
    "sockets": """
        bind=49/200 connect=42/203 listen=50/201 accept=43/202 accept4=288/242 getsockname=51/204
        getpeername=52/205 socketpair=53/199 shutdown=48/210 getsockopt=55/209 sendto=44/206 sendmsg=46/211
        sendmmsg=307/269 recvfrom=45/207 recvmsg=47/212 recvmmsg=299/243
    """,
}

#: Allowed with some arguments only (see `fgd.sandbox.seccomp.ARGUMENT_RULES`).
CHECKED: Final = """
    clone=56/220 ioctl=16/29 prctl=157/167 socket=41/198 setsockopt=54/208 mknod=133/- mknodat=259/33 setrlimit=160/164
    prlimit64=302/261 fcntl=72/25
"""

#: Answered with 0 and not carried out: they would flush the disks of the whole host.
PRETENDED: Final = "sync=162/81 syncfs=306/267"

#: Its flags are in memory, where a filter cannot look; on ENOSYS libraries use clone.
MISSING: Final = "clone3=435/435"

#: From this number on, calls are newer than this list; ENOSYS makes libraries use what they used before.
FIRST_UNKNOWN: Final = 463

_COLUMN = {"x86_64": 0, "aarch64": 1}


def numbers(words: str, machine: str) -> dict[str, int]:
    """Name to number of one of the texts above, for a machine as `os.uname` calls it.

    Raises:
        ValueError: a machine we have no numbers for.
    """
    if machine not in _COLUMN:
        raise ValueError(f"no system call numbers for {machine}; known: {', '.join(_COLUMN)}")
    table = {}
    for word in words.split():
        name, _, columns = word.partition("=")
        number = columns.split("/")[_COLUMN[machine]]
        if number != "-":
            table[name] = int(number)
    return table


def plain_numbers(machine: str) -> dict[str, int]:
    """All of `PLAIN` together."""
    return numbers(" ".join(PLAIN.values()), machine)
