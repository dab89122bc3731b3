//! What a reload looks at in secrets: whether they were corrected, and how old they are (pure).

use crate::account::Account;
use crate::settings::Config;

/// From these ages on, in days, a secret is warned of.
const OLD: [f64; 2] = [90.0, 80.0];

/// What is said about a secret of this age in days.
pub(super) fn age_warning(account: &str, days: f64) -> Option<String> {
    let limit = OLD.into_iter().find(|limit| days >= *limit)?;
    Some(format!(
        "the secret of account {account} is over {limit} days old (secret_age_days): state a new one beside it in \
         accounts.{account}.secrets, with not_before, and reload"
    ))
}

/// The keys of an account's platform that hold a secret, dotted.
pub(super) fn secret_keys(config: &Config, account: &Account) -> Vec<String> {
    let keys = config.platforms.find(account.platform).map(|platform| platform.describe().keys).unwrap_or_default();
    keys.into_iter().filter(|key| key.secret).map(|key| key.name).collect()
}

/// Whether one of two configurations of an account sends with other credentials. `secret` are the keys of its platform
/// that hold one.
pub(super) fn has_other_credential(old: &Account, new: &Account, secret: &[String]) -> bool {
    let halves = |account: &Account| -> Vec<_> {
        let all = account.credentials.iter();
        all.map(|c| (c.key.clone(), c.secret.clone(), c.not_before_ms, c.not_after_ms)).collect()
    };
    let seeds = |account: &Account| account.tokens().map(|(_, seed)| (seed.access, seed.refresh, seed.code));
    let of_platform = |account: &Account| -> Vec<_> {
        let settings = account.settings.read();
        let value = |key: &String| settings.get(key.split('.').next().unwrap_or(key)).cloned();
        secret.iter().map(value).collect()
    };
    halves(old) != halves(new)
        || seeds(old) != seeds(new)
        || of_platform(old) != of_platform(new)
        || old.proxy != new.proxy
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::account::PlatformKeys;
    use crate::platforms::Credential;

    #[test]
    fn a_secret_is_warned_of_at_80_and_at_90_days() {
        let told = |days| age_warning("acme", days).map(|text| text.contains("over 90 days"));
        assert_eq!(
            [0.0, 79.9, 80.0, 89.9, 90.0, 400.0].map(told),
            [None, None, Some(false), Some(false), Some(true), Some(true)]
        );
    }

    #[test]
    fn a_credential_is_another_one_where_a_half_its_time_the_proxy_or_a_secret_key_differs_and_nothing_else_counts() {
        let keys = |value: Value| PlatformKeys::new(value.as_object().unwrap());
        let credential = |secret: &str, until| Credential {
            id: "a".into(),
            key: "k".into(),
            secret: crate::secret::SecretString::new(secret),
            not_before_ms: None,
            not_after_ms: until,
        };
        let account = |edit: &dyn Fn(&mut Account)| {
            let mut account = Account::stub("acme");
            account.credentials = vec![credential("s", None)];
            account.settings = keys(json!({"access_token": "t", "style": "x"}));
            edit(&mut account);
            Arc::new(account)
        };
        let secret = ["access_token".to_owned()];
        let other = |edit: &dyn Fn(&mut Account)| has_other_credential(&account(&|_| {}), &account(edit), &secret);
        assert!(!other(&|_| {}) && !other(&|a| a.limits.rps = 1.0));
        assert!(!other(&|a| a.settings = keys(json!({"access_token": "t", "style": "y"}))));
        assert!(other(&|a| a.credentials = vec![credential("t", None)]));
        assert!(other(&|a| a.credentials = vec![credential("s", Some(5))]));
        assert!(other(&|a| a.credentials.push(credential("t", None))));
        assert!(other(&|a| a.settings = keys(json!({"access_token": "u", "style": "x"}))));
    }
}
