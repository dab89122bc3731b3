//! The accounts the fakes know, and how a request finds its own.

use std::collections::HashMap;
use std::fmt;

/// One account of a fake platform, as the worker's configuration has it.
#[derive(Clone, Debug)]
pub struct SandboxAccount {
    /// Its name in ledger and faults.
    pub name: String,
    /// What its platform has agreed with it.
    pub platform: SandboxPlatform,
}

/// Which fake serves an account, and by which agreement.
#[derive(Clone, Debug)]
pub enum SandboxPlatform {
    /// 360 点睛.
    Qihoo360(Qihoo360Account),
    /// 百助.
    Baizhu(BaizhuAccount),
}

/// What 360 knows of an account.
#[derive(Clone, Default)]
pub struct Qihoo360Account {
    /// App-Key and secret; several may be valid at once while rotating.
    pub keys: Vec<(String, String)>,
    /// Usual product line, e.g. `ocpc_ps_convert`. It only tells accounts apart that share an App-Key: every line is
    /// accepted, since an event may name another one.
    pub data_industry: Option<String>,
    /// Display advertiser id: where set, zs accepts no other.
    pub jzqs: Option<String>,
    /// Set where an authorised consultation tool reports: the member is then mandatory, else forbidden.
    pub data_source: Option<String>,
    /// Accept a `qhclickid` of any length: the documented lengths contradict the documented samples.
    pub any_click_length: bool,
}

// By hand, so that no secret is ever printed.
impl fmt::Debug for Qihoo360Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Qihoo360Account")
            .field("keys", &self.keys.iter().map(|(key, _)| key).collect::<Vec<_>>())
            .field("data_industry", &self.data_industry)
            .field("jzqs", &self.jzqs)
            .field("data_source", &self.data_source)
            .field("any_click_length", &self.any_click_length)
            .finish()
    }
}

/// What 百助 knows of an account.
#[derive(Clone, Debug)]
pub struct BaizhuAccount {
    /// Product mark agreed for `/data/install`; `None`: this endpoint is not open to the account.
    pub install: Option<String>,
    /// The same for `/data/register`.
    pub register: Option<String>,
    /// The same for `/data/back`.
    pub back: Option<String>,
    /// How the account is paid for; CPA sends no amounts.
    pub settlement: Settlement,
    /// Accepted spellings of the product name's field; where two are sent, they must say the same.
    pub product_name_fields: Vec<String>,
    /// Spelling of the refund's field.
    pub returned_money_field: String,
    /// Encoding of the form.
    pub encoding: Encoding,
    /// Unit of the amounts.
    pub amount_unit: AmountUnit,
    /// The `code` that means success.
    pub success_value: String,
}

impl Default for BaizhuAccount {
    fn default() -> Self {
        Self {
            install: None,
            register: None,
            back: None,
            settlement: Settlement::Cps,
            product_name_fields: vec!["product-name".to_owned()],
            returned_money_field: "returned_money".to_owned(),
            encoding: Encoding::Multipart,
            amount_unit: AmountUnit::Yuan,
            success_value: "success".to_owned(),
        }
    }
}

/// Settlement of a 百助 account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// By action: no amounts.
    Cpa,
    /// By sale: amounts and refunds.
    Cps,
}

/// Encoding of a 百助 form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// `multipart/form-data`.
    Multipart,
    /// `application/x-www-form-urlencoded`.
    Urlencoded,
}

/// Unit of 百助 amounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AmountUnit {
    /// Decimals with two places.
    Yuan,
    /// Integers.
    Fen,
}

impl SandboxAccount {
    /// The accounts `postback sandbox` has without a configuration file: one per product line of 360 under one App-Key,
    /// and one of 百助. Their secrets are made up and published.
    pub fn examples() -> Vec<SandboxAccount> {
        let line = |name: &str, line: &str, jzqs: Option<&str>| SandboxAccount {
            name: name.to_owned(),
            platform: SandboxPlatform::Qihoo360(Qihoo360Account {
                keys: vec![("abcdefghij0123456789".to_owned(), "0123456789abcdef0123456789abcdef".to_owned())],
                data_industry: Some(line.to_owned()),
                jzqs: jzqs.map(str::to_owned),
                ..Qihoo360Account::default()
            }),
        };
        vec![
            line("acme-ps", "ocpc_ps_convert", None),
            line("acme-ms", "ocpc_ms_convert", None),
            line("acme-zs", "ocpc_zs_convert", Some("1000001")),
            line("acme-web", "ocpc_web_convert", None),
            SandboxAccount {
                name: "acme-baizhu".to_owned(),
                platform: SandboxPlatform::Baizhu(BaizhuAccount {
                    install: Some("acc".to_owned()),
                    register: Some("acc".to_owned()),
                    back: Some("P-0193".to_owned()),
                    ..BaizhuAccount::default()
                }),
            },
        ]
    }

    /// The platform's name as in the worker's configuration.
    pub fn platform_name(&self) -> &'static str {
        match self.platform {
            SandboxPlatform::Qihoo360(_) => "qihoo360",
            SandboxPlatform::Baizhu(_) => "baizhu",
        }
    }
}

/// The name of whatever belongs to no account.
pub const UNKNOWN: &str = "unknown";

/// All accounts, and the ways to them.
#[derive(Debug)]
pub(super) struct Directory {
    accounts: Vec<SandboxAccount>,
    by_key: HashMap<String, Vec<usize>>,
}

impl Directory {
    /// Checks the accounts together; every problem is named.
    pub(super) fn new(accounts: Vec<SandboxAccount>) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let mut by_key: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, account) in accounts.iter().enumerate() {
            let name = &account.name;
            if name.is_empty() || name == UNKNOWN {
                problems.push(format!("account name `{name}` is reserved"));
            }
            if accounts.iter().take(index).any(|earlier| earlier.name == *name) {
                problems.push(format!("account {name} is listed twice"));
            }
            let SandboxPlatform::Qihoo360(terms) = &account.platform else { continue };
            for (key, secret) in &terms.keys {
                // Signing with an empty secret yields a digest like any other: it must never count as a credential.
                if key.is_empty() || secret.is_empty() {
                    problems.push(format!("account {name} has an empty App-Key or secret"));
                }
                let holders = by_key.entry(key.clone()).or_default();
                if holders.last() != Some(&index) {
                    holders.push(index);
                }
            }
        }
        if problems.is_empty() { Ok(Self { accounts, by_key }) } else { Err(problems) }
    }

    /// Every account, in the order given.
    pub(super) fn accounts(&self) -> &[SandboxAccount] {
        &self.accounts
    }

    /// Names a fault may be set for.
    pub(super) fn names(&self) -> Vec<&str> {
        self.accounts.iter().map(|account| account.name.as_str()).chain([UNKNOWN]).collect()
    }

    /// The 360 accounts that hold an App-Key.
    pub(super) fn holders(&self, key: &str) -> Vec<(usize, &Qihoo360Account)> {
        let holders = self.by_key.get(key).map_or(&[][..], Vec::as_slice);
        holders
            .iter()
            .filter_map(|&index| match &self.accounts.get(index)?.platform {
                SandboxPlatform::Qihoo360(terms) => Some((index, terms)),
                SandboxPlatform::Baizhu(_) => None,
            })
            .collect()
    }

    /// The 百助 accounts.
    pub(super) fn baizhu(&self) -> impl Iterator<Item = (usize, &BaizhuAccount)> {
        self.accounts.iter().enumerate().filter_map(|(index, account)| match &account.platform {
            SandboxPlatform::Baizhu(terms) => Some((index, terms)),
            SandboxPlatform::Qihoo360(_) => None,
        })
    }
}
