//! The fakes, one per platform, and the one list of them. To add a fake, write its file and add its line to [`LIST`].
//! Platforms that are files play themselves (`declared`).
//!
//! No other file of the sandbox names a platform.

mod baizhu;
mod declared;
mod kdniao;
mod qihoo360;
mod solinkup;

use super::account::SandboxAccount;
use super::fake::{Fake, FakePlatform};

/// Every platform that is played by code of its own.
pub(super) const LIST: [FakePlatform; 4] = [qihoo360::PLATFORM, baizhu::PLATFORM, kdniao::PLATFORM, solinkup::PLATFORM];

impl SandboxAccount {
    /// The accounts of `postback sandbox` without a configuration file. Their secrets are invented and public.
    pub fn examples() -> Vec<SandboxAccount> {
        LIST.iter().flat_map(|platform| (platform.examples)()).chain(declared::examples()).collect()
    }
}

/// Explains how to reach the example accounts by hand, for a help text.
pub fn by_hand() -> String {
    LIST.iter().map(|platform| platform.by_hand).chain([declared::BY_HAND]).collect::<Vec<_>>().join("\n")
}

/// The names of the platforms that the sandbox plays for these accounts.
pub(super) fn names(accounts: &[SandboxAccount]) -> Vec<String> {
    LIST.iter().map(|platform| platform.name.to_owned()).chain(declared::names(accounts)).collect()
}

/// Every fake of these accounts. A failure names every problem.
pub(super) fn open(accounts: &[SandboxAccount]) -> Result<Vec<Box<dyn Fake>>, Vec<String>> {
    let (mut fakes, mut problems) = (Vec::new(), Vec::new());
    for platform in &LIST {
        let own: Vec<_> = accounts.iter().enumerate().filter(|(_, a)| a.platform == platform.name).collect();
        match (platform.open)(&own) {
            Ok(fake) => fakes.push(fake),
            Err(found) => problems.extend(found),
        }
    }
    match declared::open(accounts) {
        Ok(declared) => fakes.extend(declared),
        Err(found) => problems.extend(found),
    }
    if problems.is_empty() { Ok(fakes) } else { Err(problems) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platforms::{Platform, list};

    #[test]
    fn every_platform_of_the_worker_has_a_fake_and_an_example_account() {
        let fakes: Vec<_> = LIST.iter().map(|fake| fake.name).collect();
        let files: Vec<_> = list::shipped().map(|platform| platform.name()).collect();
        let worker: Vec<_> =
            list::all().map(|platform| platform.name()).filter(|name| *name != crate::stub::PLATFORM).collect();
        let coded: Vec<_> = worker.iter().copied().filter(|name| !files.contains(name)).collect();
        assert_eq!(fakes, coded);
        for name in worker {
            assert!(SandboxAccount::examples().iter().any(|account| account.platform == name), "{name}");
        }
    }
}
