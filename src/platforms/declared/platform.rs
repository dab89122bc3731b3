//! A declared platform as the rest of the program knows it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

use super::definition::Native;
use super::program::{Program, compile};
use super::sender::{Bound, Calls, Declared};
use crate::config::problem::Problems;
use crate::config::read::Rest;
use crate::platforms::description::{Description, KeyDescription, Unconfirmed};
use crate::platforms::{Configured, Platform, Problem};

/// Compiled files by their text, as long as something uses them: a file that is read again is the same platform, and
/// what a changed file was before is gone with the last account of it.
static COMPILED: LazyLock<Mutex<HashMap<String, Weak<DeclaredPlatform>>>> = LazyLock::new(Mutex::default);

/// A compiled file.
#[derive(Debug)]
pub struct DeclaredPlatform {
    pub(super) program: Arc<Program>,
    text: String,
}

impl DeclaredPlatform {
    /// The file as it is written.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Reads, checks and compiles the file of a platform.
///
/// # Errors
/// Every problem with its line, key, and place in an expression.
pub fn load(file: &str, text: &str) -> Result<Arc<DeclaredPlatform>, Problems> {
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(platform) = compiled.get(text).and_then(Weak::upgrade) {
        return Ok(platform);
    }
    let program = Arc::new(compile(file, text)?);
    let platform = Arc::new(DeclaredPlatform { program, text: text.to_owned() });
    compiled.retain(|_, platform| platform.strong_count() > 0);
    compiled.insert(text.to_owned(), Arc::downgrade(&platform));
    Ok(platform)
}

impl Platform for DeclaredPlatform {
    fn name(&self) -> &'static str {
        self.program.name
    }

    fn title(&self) -> &'static str {
        self.program.title
    }

    fn base_url(&self) -> &'static str {
        self.program.base_url
    }

    fn keys(&self) -> Vec<String> {
        self.program.key_names()
    }

    fn describe(&self) -> Description {
        let definition = &self.program.definition;
        let batch = definition.batch.as_ref();
        let written = |native: &Native| match native {
            Native::Text(text) => format!("{text:?}"),
            other => other.to_string(),
        };
        let described = definition.account.keys.iter().map(|(name, key)| KeyDescription {
            name: name.to_owned(),
            default: key.default.as_ref().map(written),
            required: key.required,
            secret: key.secret,
            values: key.values.iter().map(written).collect(),
        });
        let mut keys: Vec<_> = described.collect();
        for name in self.program.key_names().into_iter().filter(|name| definition.account.keys.get(name).is_none()) {
            keys.push(KeyDescription { name, secret: true, ..KeyDescription::default() });
        }
        let unconfirmed = definition.unconfirmed.iter();
        let kinds = [("conversion", self.program.forms.is_empty()), ("call", self.program.calls.is_empty())];
        Description {
            kinds: kinds.iter().filter(|(_, none)| !none).map(|(kind, _)| *kind).collect(),
            calls: self.program.call_names.to_vec(),
            keys,
            dedupes_by: definition.dedupes_by.clone(),
            window: definition.window.clone(),
            repeats: definition.repeats.clone(),
            batch_items: batch.map_or(1, |batch| batch.max_items),
            batch_bytes: batch.map(|batch| batch.max_bytes),
            limits: definition.limits.clone(),
            unconfirmed: unconfirmed
                .map(|row| Unconfirmed { what: row.what.clone(), switch: row.switch.clone() })
                .collect(),
            docs: definition.docs.clone(),
        }
    }

    fn configure(&self, keys: &mut Rest<'_>, map: BTreeMap<String, String>) -> Result<Configured, Vec<Problem>> {
        let mut addresses = Vec::new();
        let settings = self.program.read_keys(keys, &mut addresses)?;
        let bound = Bound::new(self.program.clone(), &settings)?;
        let mut configured = Configured { settings, addresses, ..Configured::default() };
        if !self.program.calls.is_empty() {
            configured.call = Some(Arc::new(Calls::new(bound.clone())?));
        }
        if !self.program.forms.is_empty() {
            let sender = Declared::new(bound, map)?;
            if let Some(problem) = self.refused_key(&sender) {
                return Err(vec![problem]);
            }
            configured.sender = Some(Arc::new(sender));
        } else if let Some(name) = map.keys().next() {
            return Err(vec![(format!("map.{name}"), "the platform takes calls alone, and no conversions".into())]);
        }
        Ok(configured)
    }
}
