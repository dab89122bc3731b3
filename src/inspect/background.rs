//! Threads that read much in a worker that delivers meanwhile.

/// How far a thread stands back behind live traffic.
#[derive(Clone, Copy)]
pub(super) enum Behind {
    /// It works where a busy machine has something to spare.
    Far = 10,
    /// It gets next to nothing of a busy machine.
    Furthest = 19,
}

/// Lowers the priority of this thread: live traffic comes first. The threads that it starts, and those of the clients
/// that it makes, take this over.
pub(super) fn lower_priority(behind: Behind) {
    // SAFETY: the calls change nothing but the priority of this thread.
    unsafe {
        let thread = libc::syscall(libc::SYS_gettid);
        libc::setpriority(libc::PRIO_PROCESS as _, thread as _, behind as _);
    }
}
