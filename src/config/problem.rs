//! A problem of a configuration: the place, the key, the reason and the remedy. It never contains a secret.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

/// Where a setting was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// Compiled in, or not written anywhere.
    #[default]
    Default,
    /// A line of a file; 0 if no single line is wrong.
    File(Arc<str>, usize),
    /// An environment variable by name.
    Environment(Arc<str>),
}

/// A thing that is wrong or doubtful.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The place where it was written.
    pub place: Place,
    /// The dotted path, e.g. `accounts.acme-ps.secrets.0.secret`; empty if the problem is about the whole file.
    pub key: String,
    /// The reason, and what to do.
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = match &self.place {
            Place::Default => String::new(),
            Place::File(file, 0) => format!("{file}: "),
            Place::File(file, line) => format!("{file}:{line}: "),
            Place::Environment(name) => format!("environment {name}: "),
        };
        if !self.key.is_empty() {
            line.push_str(&self.key);
            line.push_str(": ");
        }
        line.push_str(&self.reason);
        // One problem is one line, even if a key or a path contains a line break.
        for c in line.chars() {
            if c.is_control() { write!(f, "{}", c.escape_default())? } else { write!(f, "{c}")? }
        }
        Ok(())
    }
}

/// The problems of a configuration that cannot be used, and its warnings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    /// All problems; never empty.
    pub problems: Vec<Problem>,
    /// Findings that would not refuse the start.
    pub warnings: Vec<Problem>,
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Collects problems while the configuration is read, in the order in which they are found.
#[derive(Debug, Default)]
pub(crate) struct Report {
    file: Option<Arc<str>>,
    found: RefCell<Problems>,
}

impl Report {
    /// A report on `file`. A problem of a setting that was not written anywhere is reported for this file.
    pub fn new(file: Option<Arc<str>>) -> Self {
        Self { file, found: RefCell::default() }
    }

    fn located(&self, place: &Place, key: &str, reason: String) -> Problem {
        let place = match (place, &self.file) {
            (Place::Default, Some(file)) => Place::File(file.clone(), 0),
            (place, _) => place.clone(),
        };
        Problem { place, key: key.to_owned(), reason }
    }

    /// Adds a problem.
    pub fn problem(&self, place: &Place, key: &str, reason: impl Into<String>) {
        let problem = self.located(place, key, reason.into());
        let mut found = self.found.borrow_mut();
        if !found.problems.contains(&problem) {
            found.problems.push(problem);
        }
    }

    /// Adds a warning.
    pub fn warn(&self, place: &Place, key: &str, reason: impl Into<String>) {
        let warning = self.located(place, key, reason.into());
        self.found.borrow_mut().warnings.push(warning);
    }

    /// Whether `key` or a part of it is reported already.
    pub fn blames(&self, key: &str) -> bool {
        self.found
            .borrow()
            .problems
            .iter()
            .any(|p| p.key.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
    }

    /// All findings, in the order of the file where lines are known.
    pub fn finish(self) -> Problems {
        let mut found = self.found.into_inner();
        let order = |p: &Problem| match p.place {
            Place::File(_, line) => (0, line),
            Place::Default => (1, 0),
            Place::Environment(_) => (2, 0),
        };
        found.problems.sort_by_key(order);
        found.warnings.sort_by_key(order);
        found
    }
}
