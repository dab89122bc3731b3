//! The accounts of `config/demo.toml`, and the events that their advertisers report.

use rand::Rng;
use rand::rngs::StdRng;

use crate::demo::accounts;
use crate::platforms::list;

/// The kind of click id that the events of an account carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Click {
    /// `qhclickid` with this many characters.
    Qhclickid(usize),
    /// `qhclickid` under the name that it has in landing links of 展示广告.
    Sourceid,
    /// `impression_id`.
    Impression,
    /// `gdt_click_id`.
    Gdt,
    /// No click id: the platform knows users by their uid.
    Uid,
    /// No conversion at all: calls that ask about parcels.
    Parcel,
}

/// The content of an event beside its ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    Plain,
    /// A lead with a score.
    Score,
    /// An unpaid order: it has a number and no amount.
    Order,
    /// A paid order, with its amount in fen.
    Paid,
    /// A paid order that is sometimes paid back.
    Refundable,
}

/// One account of the demo and its events.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    /// The name of the account in `config/demo.toml`.
    pub account: &'static str,
    pub platform: &'static str,
    /// How often this account's events come, relative to the other accounts.
    pub weight: u32,
    /// Its click ids.
    pub click: Click,
    /// The canonical events or the calls: name, relative frequency, content.
    pub events: &'static [(&'static str, u32, Load)],
}

impl Profile {
    /// Whether its events are calls, each of which has a result.
    pub fn is_of_calls(&self) -> bool {
        self.click == Click::Parcel
    }

    /// Whether its platform allows repeats only within a natural day. The account states the time zone of that day.
    pub fn has_natural_day(&self) -> bool {
        list::find(self.platform).is_some_and(|platform| platform.keys().iter().any(|key| key == "natural_day.tz"))
    }

    /// Whether its platform takes events of any age.
    pub fn takes_any_age(&self) -> bool {
        list::find(self.platform).is_some_and(|platform| platform.takes_any_age())
    }
}

/// Every account of the demo.
pub const PROFILES: &[Profile] = &[
    Profile {
        account: accounts::SEARCH.name,
        platform: accounts::SEARCH.platform,
        weight: 22,
        click: Click::Qhclickid(16),
        events: &[
            ("form_submit", 30, Load::Score),
            ("consult_start", 20, Load::Plain),
            ("phone_call", 8, Load::Plain),
            ("register", 16, Load::Plain),
            ("order", 14, Load::Paid),
            ("pay", 10, Load::Paid),
            ("credit_approved", 2, Load::Plain),
        ],
    },
    Profile {
        account: accounts::MOBILE.name,
        platform: accounts::MOBILE.platform,
        weight: 20,
        click: Click::Qhclickid(16),
        events: &[
            ("app_download", 26, Load::Plain),
            ("app_activate", 22, Load::Plain),
            ("app_retention_d1", 12, Load::Plain),
            ("app_pay", 12, Load::Paid),
            ("order", 10, Load::Paid),
            ("add_to_cart", 18, Load::Plain),
        ],
    },
    Profile {
        account: accounts::DISPLAY.name,
        platform: accounts::DISPLAY.platform,
        weight: 16,
        click: Click::Sourceid,
        events: &[
            ("browse_depth", 24, Load::Plain),
            ("register", 20, Load::Plain),
            ("role_create", 14, Load::Plain),
            ("add_wechat_contact", 14, Load::Score),
            ("order", 12, Load::Paid),
            ("pay_success", 10, Load::Paid),
            ("order_submit", 6, Load::Order),
        ],
    },
    Profile {
        account: accounts::WEB.name,
        platform: accounts::WEB.platform,
        weight: 14,
        click: Click::Impression,
        events: &[
            ("form_submit", 46, Load::Plain),
            ("consult_start", 30, Load::Plain),
            ("phone_call", 14, Load::Plain),
            ("click_download", 10, Load::Plain),
        ],
    },
    Profile {
        account: accounts::UNION.name,
        platform: accounts::UNION.platform,
        weight: 16,
        click: Click::Uid,
        events: &[
            ("install", 40, Load::Plain),
            ("register", 28, Load::Plain),
            // Without an order number the worker could not send an amount again after a doubtful answer.
            ("effective_user", 32, Load::Refundable),
        ],
    },
    Profile {
        account: accounts::UNION_CPA.name,
        platform: accounts::UNION_CPA.platform,
        weight: 12,
        click: Click::Uid,
        events: &[("install", 52, Load::Plain), ("register", 30, Load::Plain), ("effective_user", 18, Load::Plain)],
    },
    Profile {
        account: accounts::TENCENT.name,
        platform: accounts::TENCENT.platform,
        weight: 18,
        click: Click::Gdt,
        events: &[
            ("app_activate", 24, Load::Plain),
            ("register", 26, Load::Plain),
            ("add_to_cart", 18, Load::Plain),
            ("order_submit", 14, Load::Order),
            ("pay", 18, Load::Paid),
        ],
    },
    Profile {
        account: accounts::PARCELS.name,
        platform: accounts::PARCELS.platform,
        weight: 8,
        click: Click::Parcel,
        events: &[("kdniao.track_query", 1, Load::Plain)],
    },
];

/// Draws the index of an account by the weights.
pub(super) fn draw(random: &mut StdRng) -> usize {
    weighted(random, PROFILES.iter().map(|p| p.weight))
}

/// Draws an index by these weights.
pub(super) fn weighted(random: &mut StdRng, weights: impl Iterator<Item = u32> + Clone) -> usize {
    let mut point = random.random_range(0..weights.clone().sum::<u32>().max(1));
    for (index, weight) in weights.enumerate() {
        if point < weight {
            return index;
        }
        point -= weight;
    }
    0
}
