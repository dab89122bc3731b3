//! The fakes, one per platform, and the one list of them. To add a fake, write its file and add its line to [`LIST`].
//!
//! No other file of the sandbox names a platform.

mod baizhu;
mod qihoo360;

use super::account::SandboxAccount;
use super::fake::Platform;

/// Every platform that the sandbox plays.
pub(super) const LIST: [Platform; 2] = [qihoo360::PLATFORM, baizhu::PLATFORM];

impl SandboxAccount {
    /// The accounts of `postback sandbox` without a configuration file. Their secrets are invented and public.
    pub fn examples() -> Vec<SandboxAccount> {
        LIST.iter().flat_map(|platform| (platform.examples)()).collect()
    }
}

/// Explains how to reach the example accounts by hand, for a help text.
pub fn by_hand() -> String {
    LIST.iter().map(|platform| platform.by_hand).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platforms::list;

    #[test]
    fn every_platform_of_the_worker_has_a_fake_and_an_example_account() {
        let fakes: Vec<_> = LIST.iter().map(|fake| fake.name).collect();
        let worker = list::all().map(|platform| platform.name()).filter(|name| *name != crate::stub::PLATFORM);
        assert_eq!(fakes, worker.collect::<Vec<_>>());
        for name in fakes {
            assert!(SandboxAccount::examples().iter().any(|account| account.platform == name), "{name}");
        }
    }
}
