//! How many keys a script takes. The embedded store refuses a call with fewer.

use super::Script;

impl Script {
    /// The smallest number of keys that the script takes. A script that takes more than one may take any number beyond
    /// that.
    pub const fn least_keys(self) -> usize {
        match self {
            Script::ReplayMove => 4,
            Script::ReplayRate | Script::EndHalt | Script::ReadOn => 2,
            Script::ReplayProgress => 3,
            _ => 1,
        }
    }
}
