//! One file per command of the contract: arguments in, calls, text or JSON out.

pub mod accounts;
pub mod audit;
pub mod blocked;
pub mod check;
pub mod dead_letters;
pub mod demo;
pub mod embedded;
mod ledger;
pub mod platforms;
pub mod preview;
pub mod probe;
mod progress;
pub mod reach;
mod reading;
pub mod reconcile;
pub mod replay;
pub mod run;
pub mod sandbox;
pub mod send;
pub mod source;
pub mod table;
pub mod trace;
pub mod unblock;

use std::io::{Read, Write};
use std::path::Path;

use crate::exit::Exit;
use crate::settings::{Config, environment};
use crate::unreadable;

/// Loads the configuration for a command; without a file, that of the demo. Warnings go to standard error.
///
/// # Errors
/// 2, with every problem.
pub fn load(file: Option<&Path>) -> Result<Config, Exit> {
    load_with(file, environment())
}

/// Does the same as [`load`] with another environment.
///
/// # Errors
/// 2, with every problem.
pub fn load_with(file: Option<&Path>, env: impl IntoIterator<Item = (String, String)>) -> Result<Config, Exit> {
    match Config::load(file, env) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                eprintln!("warning: {warning}");
            }
            Ok(loaded.config)
        }
        Err(found) => {
            for warning in &found.warnings {
                eprintln!("warning: {warning}");
            }
            Err(Exit::usage(found.problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))
        }
    }
}

/// Reads the input that a command names: a file, or standard input for `-`.
///
/// # Errors
/// 2 where it cannot be read: nothing is known of the events, so this is not bad input.
pub fn read_input(file: &Path) -> Result<Vec<u8>, Exit> {
    let (name, read) = if file.as_os_str() == "-" {
        let mut bytes = Vec::new();
        ("standard input".to_owned(), std::io::stdin().read_to_end(&mut bytes).map(|_| bytes))
    } else {
        (file.display().to_string(), std::fs::read(file))
    };
    read.map_err(|error| Exit::usage(format!("{name} {}", unreadable::why(&error))))
}

/// Writes a command's result to standard output. It is no failure if the reader has gone, e.g. `| head -1`.
///
/// # Errors
/// 1 where the text cannot be written for any other reason.
pub fn print(text: &str) -> Result<(), Exit> {
    print_bytes(text.as_bytes())
}

/// Writes bytes to standard output as they are.
///
/// # Errors
/// As [`print()`].
pub fn print_bytes(bytes: &[u8]) -> Result<(), Exit> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Exit::failed(format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes a command's result as one JSON value.
///
/// # Errors
/// As [`print()`].
pub fn print_json(value: &impl serde::Serialize) -> Result<(), Exit> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Exit::failed(e.to_string()))?;
    print(&(text + "\n"))
}
