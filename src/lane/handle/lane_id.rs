//! Which lane it is.

use std::borrow::Cow;
use std::sync::Arc;

/// A lane's place among all lanes, and the account that it sends for. It never changes.
pub struct LaneId {
    /// The index of the lane.
    pub index: usize,
    /// The index of its account in the metrics, which is that of the account's first lane.
    pub account_index: usize,
    /// The number of the thread that runs it.
    pub thread: usize,
    pub account_name: Arc<str>,
    /// The name of its platform.
    pub platform: &'static str,
}

impl LaneId {
    /// Whether it is the first lane of its account.
    pub fn is_first(&self) -> bool {
        self.index == self.account_index
    }

    /// Its name where lanes are told apart: the account's, with a mark for a second lane.
    pub fn name(&self) -> Cow<'_, str> {
        if self.is_first() { Cow::Borrowed(&self.account_name) } else { format!("{}:calls", self.account_name).into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lane_has_a_name_that_no_account_can_have() {
        let id =
            |index| LaneId { index, account_index: 1, thread: 0, account_name: "acme".into(), platform: "qihoo360" };
        assert_eq!((id(1).is_first(), &*id(1).name()), (true, "acme"));
        assert_eq!((id(4).is_first(), &*id(4).name()), (false, "acme:calls"));
    }
}
