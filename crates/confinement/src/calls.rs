//! Lists system calls for the filters: those that kill a process, those that are refused for some
//! arguments, and those that a proxy uses. A proxy gets ENOSYS for all others, for which a C
//! library has a fallback: a newer library must not end a proxy in production.

use nix::libc;

/// System calls that an attacker would use first, and that kill a confined process at once.
/// Exceptions are io_uring in the volume role ([`RINGS`]) and the control role, where programs may
/// be executed and the other calls are refused instead.
pub const DEADLY: &[libc::c_long] = &[
    // Calls for other programs and other processes.
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    // Calls for namespaces and mounts.
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_pivot_root,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_mount_setattr,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_open_by_handle_at,
    // Changes of the whole system.
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
    // Kernel subsystems with a history of vulnerabilities.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
];

/// Calls of [`DEADLY`] that the volume role may use.
pub const RINGS: &[libc::c_long] = &[
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
];

/// System calls that the reactor, Tokio, Rust's library and the C library use while
/// traffic flows, when threads start and end, and on a panic.
pub const USED: &[libc::c_long] = &[
    // Sockets.
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_shutdown,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_recvmmsg,
    // Descriptors.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_preadv2,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_pwritev2,
    libc::SYS_lseek,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_fcntl,
    libc::SYS_ioctl,
    libc::SYS_pipe2,
    libc::SYS_splice,
    libc::SYS_tee,
    libc::SYS_vmsplice,
    libc::SYS_sendfile,
    libc::SYS_memfd_create,
    libc::SYS_ftruncate,
    // Files, as far as Landlock and [`REFUSED`] permit.
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_readlinkat,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    // Waiting and time.
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_eventfd2,
    libc::SYS_signalfd4,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_timerfd_gettime,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    libc::SYS_times,
    libc::SYS_restart_syscall,
    // Memory.
    libc::SYS_mmap,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_membarrier,
    libc::SYS_mincore,
    libc::SYS_mlock,
    libc::SYS_munlock,
    // Threads.
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    // futex_waitv, futex_wake, futex_wait, futex_requeue: one number everywhere.
    449,
    454,
    455,
    456,
    libc::SYS_get_robust_list,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_rseq,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_sched_setscheduler,
    libc::SYS_sched_getattr,
    libc::SYS_sched_setattr,
    libc::SYS_sched_get_priority_max,
    libc::SYS_sched_get_priority_min,
    libc::SYS_getpriority,
    libc::SYS_setpriority,
    libc::SYS_getcpu,
    libc::SYS_prctl,
    // Signals.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigpending,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_rt_sigsuspend,
    libc::SYS_sigaltstack,
    libc::SYS_kill,
    libc::SYS_tgkill,
    // Identity and resource usage.
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getgroups,
    libc::SYS_getresuid,
    libc::SYS_getresgid,
    libc::SYS_capget,
    libc::SYS_getrusage,
    libc::SYS_prlimit64,
    libc::SYS_sysinfo,
    libc::SYS_uname,
    libc::SYS_getrandom,
];

/// System calls that a C library uses, and that fail with ENOSYS as on a kernel without them: the
/// flags of clone3 cannot be inspected, and the library falls back to clone. Since this happens
/// often, the kernel does not log these calls.
pub const USED_IN_VAIN: &[libc::c_long] = &[libc::SYS_clone3];

/// Older forms of the calls in [`USED`], which only x86-64 still has.
#[cfg(target_arch = "x86_64")]
pub const USED_OLD: &[libc::c_long] = &[
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_poll,
    libc::SYS_select,
    libc::SYS_epoll_create,
    libc::SYS_epoll_wait,
    libc::SYS_eventfd,
    libc::SYS_signalfd,
    libc::SYS_pipe,
    libc::SYS_dup2,
    libc::SYS_time,
    libc::SYS_arch_prctl,
];
#[cfg(not(target_arch = "x86_64"))]
pub const USED_OLD: &[libc::c_long] = &[];

/// Condition on one argument of a system call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Test {
    NoneOf(&'static [u32]),
    Bits(u32, u32),
    /// The flags open a file for writing. A process that may write some files is exempt.
    Writes,
    OtherProcess,
}

/// System call that fails with EPERM if an argument passes the test.
#[derive(Clone, Copy, Debug)]
pub struct RefusedSystemCall {
    pub call: libc::c_long,
    pub argument: u8,
    pub test: Test,
}

const fn refuse(call: libc::c_long, argument: u8, test: Test) -> RefusedSystemCall {
    RefusedSystemCall {
        call,
        argument,
        test,
    }
}

/// Mask of the socket type, which shares its argument with flags.
const SOCKET_KIND: u32 = 0xf;
/// Permitted address families: Unix, IPv4 and IPv6, so neither netlink nor raw packets.
const FAMILIES: &[u32] = &[
    libc::AF_UNIX as u32,
    libc::AF_INET as u32,
    libc::AF_INET6 as u32,
];
/// Permitted operations of prctl(2): names of threads and of memory, and the auxiliary vector.
const PRCTL: &[u32] = &[
    libc::PR_SET_NAME as u32,
    libc::PR_GET_NAME as u32,
    libc::PR_SET_VMA as u32,
    // PR_GET_AUXV
    0x4155_5856,
];
/// Permitted requests of ioctl(2): blocking mode, close-on-exec, queued bytes, terminal settings
/// and width.
const IOCTL: &[u32] = &[
    libc::FIONBIO as u32,
    libc::FIONREAD as u32,
    libc::FIOCLEX as u32,
    libc::FIONCLEX as u32,
    libc::TIOCOUTQ as u32,
    libc::TCGETS as u32,
    libc::TIOCGWINSZ as u32,
    // TCGETS2
    0x802c_542a,
];
const ACCESS: u32 = libc::O_ACCMODE as u32;
/// Masks and values of the flags of open(2) that permit writing.
pub const WRITING: [(u32, u32); 4] = [
    (ACCESS, libc::O_WRONLY as u32),
    (ACCESS, libc::O_RDWR as u32),
    (libc::O_CREAT as u32, libc::O_CREAT as u32),
    (libc::O_TRUNC as u32, libc::O_TRUNC as u32),
];
const EXECUTABLE: u32 = libc::PROT_EXEC as u32;
const THREAD: u32 = libc::CLONE_THREAD as u32;

/// System calls that a proxy uses, and the arguments for which they fail with EPERM.
pub const REFUSED: &[RefusedSystemCall] = &[
    refuse(libc::SYS_socket, 0, Test::NoneOf(FAMILIES)),
    refuse(
        libc::SYS_socket,
        1,
        Test::Bits(SOCKET_KIND, libc::SOCK_RAW as u32),
    ),
    refuse(libc::SYS_socketpair, 0, Test::NoneOf(FAMILIES)),
    // Refuses to open files for writing: the logs of a proxy are sockets or inherited descriptors.
    refuse(libc::SYS_openat, 2, Test::Writes),
    #[cfg(target_arch = "x86_64")]
    refuse(libc::SYS_open, 1, Test::Writes),
    // Refuses new executable code in memory.
    refuse(libc::SYS_mmap, 2, Test::Bits(EXECUTABLE, EXECUTABLE)),
    refuse(libc::SYS_mprotect, 2, Test::Bits(EXECUTABLE, EXECUTABLE)),
    // Permits threads, and refuses processes.
    refuse(libc::SYS_clone, 0, Test::Bits(THREAD, 0)),
    refuse(libc::SYS_prctl, 0, Test::NoneOf(PRCTL)),
    refuse(libc::SYS_ioctl, 1, Test::NoneOf(IOCTL)),
    // `abort` signals the process itself.
    refuse(libc::SYS_kill, 0, Test::OtherProcess),
    refuse(libc::SYS_tgkill, 0, Test::OtherProcess),
    refuse(libc::SYS_prlimit64, 0, Test::OtherProcess),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn allowed_and_fatal_system_calls_are_disjoint() {
        let used: Vec<_> = USED.iter().chain(USED_OLD).collect();
        let set: BTreeSet<_> = used.iter().collect();
        assert_eq!(set.len(), used.len());
        let deadly: BTreeSet<_> = DEADLY.iter().collect();
        assert_eq!(deadly.len(), DEADLY.len());
        assert!(used.iter().all(|call| !deadly.contains(call)));
    }

    #[test]
    fn only_calls_that_are_used_have_arguments_that_are_refused() {
        for refusal in REFUSED {
            let known = USED.contains(&refusal.call) || USED_OLD.contains(&refusal.call);
            assert!(known, "{refusal:?}");
        }
    }
}
