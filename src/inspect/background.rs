//! Threads that read much in a worker that delivers meanwhile.

/// Gives this thread the lowest priority: live traffic comes first. The threads that it starts, and those of the clients
/// that it makes, take this over.
pub(super) fn lower_priority() {
    // SAFETY: the calls change nothing but the priority of this thread.
    unsafe {
        let thread = libc::syscall(libc::SYS_gettid);
        libc::setpriority(libc::PRIO_PROCESS as _, thread as _, 19);
    }
}
