//! Why a runner leaves its run.

/// Why a run is left.
pub enum Left {
    /// It has ended, or an operator stopped it.
    Over,
    /// This process stops.
    Stopping,
    /// Another runner has the lock.
    Lost,
}
