//! How far a partition may be read beyond its first unfinished record (pure).

/// A window that is so full, in percent, and of which so much is finished, has its blockers handed off.
const FULL: u64 = 90;
const FINISHED: u64 = 98;

/// What becomes of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// Nothing holds it back for long.
    Fine,
    /// What holds it back is handed off.
    HandOff,
}

/// Whether as many records were read beyond the first unfinished one as may be, so that the partition is paused.
#[derive(Debug, Default)]
pub(super) struct ReadAhead {
    full: bool,
}

impl ReadAhead {
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// `span` records were read since the first unfinished one. Returns whether that fills the window now.
    pub(super) fn fill(&mut self, span: u64, most: u64) -> bool {
        let fills = span >= most && !self.full;
        self.full |= fills;
        fills
    }

    /// Opens a full window, and returns whether it did. A pause drops what was fetched ahead, so it ends only when
    /// there is some room again.
    pub(super) fn open(&mut self, span: u64, most: u64) -> bool {
        let opens = self.full && span <= most / 4 * 3;
        self.full &= !opens;
        opens
    }
}

/// `span` records were read since the first unfinished one, `unfinished` of them are open, and `most` may be read.
pub(super) fn judge(span: u64, unfinished: u64, most: u64) -> Judgement {
    let nearly_full = span * 100 > most * FULL;
    let mostly_finished = (span - unfinished.min(span)) * 100 > span * FINISHED;
    // At the bound nothing more is read, so its blockers leave whatever their share is. There are never more of them
    // than the process may hold unfinished, a tenth of the window.
    if (nearly_full && mostly_finished) || span >= most { Judgement::HandOff } else { Judgement::Fine }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_over_nine_tenths_full_and_over_98_percent_finished_has_its_blockers_handed_off() {
        for (span, unfinished, judgement) in [
            (9_001, 1, Judgement::HandOff),
            (9_000, 1, Judgement::Fine),
            (9_100, 181, Judgement::HandOff),
            (9_100, 182, Judgement::Fine),
            (9_999, 5_000, Judgement::Fine),
            (10_000, 5_000, Judgement::HandOff),
            (0, 0, Judgement::Fine),
        ] {
            assert_eq!(judge(span, unfinished, 10_000), judgement, "{span} {unfinished}");
        }
    }

    #[test]
    fn a_full_window_opens_at_three_quarters() {
        let mut window = ReadAhead::default();
        assert!(!window.fill(9_999, 10_000) && !window.is_full());
        assert!(window.fill(10_000, 10_000) && window.is_full());
        assert!(!window.fill(10_001, 10_000), "it is full already");
        assert!(!window.open(7_501, 10_000) && window.is_full());
        assert!(window.open(7_500, 10_000) && !window.is_full());
        assert!(!window.open(0, 10_000), "it is open already");
    }
}
