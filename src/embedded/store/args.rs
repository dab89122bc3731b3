//! Reads the arguments of a script.

use super::wire::{Reply, error};

/// The arguments of a script.
pub(super) struct Args<'a>(pub &'a [Vec<u8>]);

impl<'a> Args<'a> {
    pub fn text(&self, n: usize) -> Result<&'a [u8], Reply> {
        self.0.get(n).map(Vec::as_slice).ok_or_else(|| error("ERR a script was given too few arguments"))
    }

    pub fn number(&self, n: usize) -> Result<i64, Reply> {
        number(self.text(n)?)
    }

    pub fn index(&self, n: usize) -> Result<usize, Reply> {
        usize::try_from(self.number(n)?).map_err(|_| error("ERR a script was given a negative index"))
    }
}

pub(super) fn number(text: &[u8]) -> Result<i64, Reply> {
    let parsed = std::str::from_utf8(text).ok().and_then(|t| t.parse().ok());
    parsed.ok_or_else(|| error("ERR a script was given a text for a number"))
}
