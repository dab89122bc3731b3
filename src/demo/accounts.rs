//! The accounts of `config/demo.toml`, by their names there. No other file of the demo names an account or a platform.

/// An account of the demo.
#[derive(Clone, Copy, Debug)]
pub struct Account {
    pub name: &'static str,
    pub platform: &'static str,
}

const fn account(name: &'static str, platform: &'static str) -> Account {
    Account { name, platform }
}

/// PC 搜索推广.
pub const SEARCH: Account = account("demo-360-ps", "qihoo360");
/// 移动搜索.
pub const MOBILE: Account = account("demo-360-ms", "qihoo360");
/// 展示广告.
pub const DISPLAY: Account = account("demo-360-zs", "qihoo360");
/// 移动推广.
pub const WEB: Account = account("demo-360-web", "qihoo360");
/// An account whose events carry money.
pub const UNION: Account = account("demo-baizhu", "baizhu");
/// An account whose events carry no money.
pub const UNION_CPA: Account = account("demo-baizhu-cpa", "baizhu");
pub const TENCENT: Account = account("demo-tencent", "tencent_ads");
/// An account that makes calls.
pub const PARCELS: Account = account("demo-kdniao", "kdniao");

/// The name of an account that is configured no more.
pub const GONE: &str = "demo-360-old";
