//! `platform_files`: the declared platforms of a configuration's own.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::config::layers::{Settings, shown};
use crate::platforms::declared;
use crate::platforms::list::Platforms;

/// No file of a platform is larger.
const LARGEST: u64 = 1 << 20;

/// Reads and compiles every file. What is wrong with one is reported with its own lines. A file that has not changed is
/// the platform that it was among the `known` ones.
pub(super) fn read(settings: &Settings<'_>, files: &[String], known: &Platforms) -> Platforms {
    let mut platforms = Platforms::default();
    for (at, file) in files.iter().enumerate() {
        let key = format!("platform_files.{at}");
        let path = settings.folder.join(file);
        let text = match text(&path) {
            Ok(text) => text,
            Err(error) => {
                settings.problem(&key, format!("{} cannot be read: {error}", path.display()));
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
                for problem in found.problems {
                    settings.report.problem(&problem.place, &problem.key, problem.reason);
                }
            }
        }
    }
    platforms
}

fn text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(LARGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LARGEST {
        return Err(io::Error::other("it is larger than 1 MiB"));
    }
    Ok(text)
}
