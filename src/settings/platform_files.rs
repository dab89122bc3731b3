//! `platform_files`: the declared platforms of a configuration's own.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::config::layers::{Settings, shown};
use crate::platforms::declared;
use crate::platforms::list::Platforms;
use crate::unreadable;

/// No file of a platform is larger.
const LARGEST: u64 = 1 << 20;

/// What accounts can be of.
#[derive(Default)]
pub(super) struct PlatformFiles {
    pub platforms: Platforms,
    /// The names in files that cannot be used; `None`: such a file shows none.
    broken: Vec<Option<String>>,
}

impl PlatformFiles {
    /// Whether this may be the name of a platform whose file cannot be used. The problems of the file say why there is
    /// no such platform.
    pub fn may_have(&self, name: &str) -> bool {
        self.broken.iter().any(|broken| broken.as_deref().is_none_or(|broken| broken == name))
    }
}

/// Reads and compiles every file. What is wrong with one is reported with its own lines. A file that has not changed is
/// the platform that it was among the `known` ones.
pub(super) fn read(settings: &Settings<'_>, files: &[String], known: &Platforms) -> PlatformFiles {
    let PlatformFiles { mut platforms, mut broken } = PlatformFiles::default();
    for (at, file) in files.iter().enumerate() {
        let key = format!("platform_files.{at}");
        let path = settings.folder.join(file);
        let text = match text(&path) {
            Ok(text) => text,
            Err(error) => {
                settings.problem(&key, format!("{} {}", path.display(), unreadable::why(&error)));
                broken.push(None);
                continue;
            }
        };
        let compiled = match known.own().find(|platform| *platform.text() == *text) {
            Some(platform) => Ok(platform.clone()),
            None => declared::load(&shown(&path), &text),
        };
        match compiled {
            Ok(platform) => {
                if let Err(reason) = platforms.add(platform) {
                    settings.problem(&key, reason);
                }
            }
            Err(found) => {
                broken.push(name_in(&text));
                for problem in found.problems {
                    settings.report.problem(&problem.place, &problem.key, problem.reason);
                }
            }
        }
    }
    PlatformFiles { platforms, broken }
}

/// The name that a file states, which need not be TOML.
fn name_in(text: &str) -> Option<String> {
    let mut top = text.lines().map(str::trim_start).take_while(|line| !line.starts_with('['));
    let stated = top.find_map(|line| line.strip_prefix("name")?.trim_start().strip_prefix('='))?;
    stated.split(['"', '\'']).nth(1).map(str::to_owned)
}

fn text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(LARGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LARGEST {
        return Err(io::Error::other("it is larger than 1 MiB"));
    }
    Ok(text)
}
