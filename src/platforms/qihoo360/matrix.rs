//! Which event codes each product line takes, and with which `event_param` members. The table is `events.csv`, parsed
//! once.
//!
//! A cell is empty if the line does not know the code, `none` if the code takes no members, else it lists the members.

use std::collections::HashMap;
use std::sync::LazyLock;

const TABLE: &str = include_str!("events.csv");

/// A product line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// 移动推广.
    Web,
    /// PC 搜索推广.
    Ps,
    /// 移动搜索.
    Ms,
    /// 展示广告.
    Zs,
}

impl Line {
    /// Every line, in the order of the table's columns.
    pub const ALL: [Line; 4] = [Line::Web, Line::Ps, Line::Ms, Line::Zs];

    pub fn industry(self) -> &'static str {
        match self {
            Line::Web => "ocpc_web_convert",
            Line::Ps => "ocpc_ps_convert",
            Line::Ms => "ocpc_ms_convert",
            Line::Zs => "ocpc_zs_convert",
        }
    }

    /// The line that a `data_industry` names.
    pub fn of(industry: &str) -> Option<Line> {
        Line::ALL.into_iter().find(|line| line.industry() == industry)
    }

    /// How many characters its click id has, if the platform states it.
    pub fn click_len(self) -> Option<usize> {
        match self {
            Line::Web => None,
            Line::Ps | Line::Ms => Some(16),
            Line::Zs => Some(12),
        }
    }
}

/// A set of `event_param` members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Params(u8);

impl Params {
    /// Order amount in fen.
    pub const VALUE: Params = Params(1);
    /// Weight of the conversion.
    pub const SCORE: Params = Params(1 << 1);
    /// The advertiser's mark of the user.
    pub const OUTERUSERID: Params = Params(1 << 2);
    /// Business name.
    pub const BNAME: Params = Params(1 << 3);
    /// When the user registered.
    pub const URTIME: Params = Params(1 << 4);

    /// Whether all of `other` are in the set.
    pub fn has(self, other: Params) -> bool {
        self.0 & other.0 == other.0
    }

    /// The set with `other` added or removed.
    pub fn with(self, other: Params, there: bool) -> Params {
        Params(if there { self.0 | other.0 } else { self.0 & !other.0 })
    }

    fn parse(cell: &str) -> Option<Params> {
        match cell {
            "" => None,
            "none" => Some(Params::default()),
            names => names.split('|').try_fold(Params::default(), |set, name| {
                let member = match name {
                    "value" => Params::VALUE,
                    "score" => Params::SCORE,
                    "outeruserid" => Params::OUTERUSERID,
                    "bname" => Params::BNAME,
                    "urtime" => Params::URTIME,
                    _ => return None,
                };
                Some(set.with(member, true))
            }),
        }
    }
}

/// One row of the table.
#[derive(Debug)]
pub struct Entry {
    /// The platform's code, spelled as the platform spells it.
    pub code: &'static str,
    /// The canonical name.
    pub canonical: &'static str,
    lines: [Option<Params>; 4],
}

impl Entry {
    /// The members that the line takes with this code. `None`: the line does not know the code.
    pub fn on(&self, line: Line) -> Option<Params> {
        self.lines[line as usize]
    }
}

/// The table, found by code and by canonical name.
pub struct Matrix {
    by_code: HashMap<&'static str, &'static Entry>,
    by_canonical: HashMap<&'static str, &'static Entry>,
}

impl Matrix {
    pub fn get() -> &'static Matrix {
        static ENTRIES: LazyLock<Vec<Entry>> = LazyLock::new(|| TABLE.lines().skip(1).filter_map(entry).collect());
        static MATRIX: LazyLock<Matrix> = LazyLock::new(|| Matrix {
            by_code: ENTRIES.iter().map(|e| (e.code, e)).collect(),
            by_canonical: ENTRIES.iter().map(|e| (e.canonical, e)).collect(),
        });
        &MATRIX
    }

    /// The row of a native code.
    pub fn by_code(&self, code: &str) -> Option<&'static Entry> {
        self.by_code.get(code).copied()
    }

    /// Every row.
    pub fn entries(&self) -> impl Iterator<Item = &'static Entry> {
        self.by_code.values().copied()
    }

    /// Every code, in alphabetical order.
    pub fn codes(&self) -> Vec<&'static str> {
        let mut codes: Vec<&'static str> = self.by_code.keys().copied().collect();
        codes.sort_unstable();
        codes
    }

    /// The row of a canonical name.
    pub fn by_canonical(&self, name: &str) -> Option<&'static Entry> {
        self.by_canonical.get(name).copied()
    }
}

fn entry(row: &'static str) -> Option<Entry> {
    let mut cells = row.split(',');
    let (code, canonical) = (cells.next()?, cells.next()?);
    let lines = [
        Params::parse(cells.next()?),
        Params::parse(cells.next()?),
        Params::parse(cells.next()?),
        Params::parse(cells.next()?),
    ];
    Some(Entry { code, canonical, lines })
}
