//! Objects made of other ones.

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Error, ErrorKind, Value};

/// A list of objects under other names: `body.data | pick(AcceptTime = 'time', AcceptStation = 'context')`. Each name
/// states the dotted path of a member; one that is undefined or none is left out.
pub(super) fn pick(list: &Value, names: Kwargs) -> Result<Value, Error> {
    let wrong = |why: &'static str| Error::new(ErrorKind::InvalidOperation, why);
    let mut paths: Vec<(&str, Value)> = Vec::new();
    for name in names.args() {
        paths.push((name, names.get(name)?));
    }
    if paths.iter().any(|(_, path)| path.as_str().is_none()) {
        return Err(wrong("pick takes names of members as texts"));
    }
    if list.is_undefined() {
        return Err(Error::from(ErrorKind::UndefinedError));
    }
    if !matches!(list.kind(), ValueKind::Seq | ValueKind::Iterable) {
        return Err(wrong("pick takes a list of objects"));
    }
    let mut picked = Vec::new();
    for object in list.try_iter()? {
        if object.kind() != ValueKind::Map {
            return Err(wrong("pick takes a list of objects"));
        }
        let mut members = Vec::with_capacity(paths.len());
        for (name, path) in &paths {
            let mut steps = path.as_str().unwrap_or_default().split('.');
            let found = steps.try_fold(object.clone(), |value, step| value.get_attr(step));
            let is_there = |found: &Value| !found.is_undefined() && !found.is_none();
            members.extend(found.ok().filter(is_there).map(|found| (*name, found)));
        }
        picked.push(Value::from_pairs(members));
    }
    Ok(Value::from(picked))
}
