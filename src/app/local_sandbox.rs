//! Starts the sandbox that plays the platforms of the configured accounts.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use crate::account::Account;
use crate::exit::Exit;
use crate::platforms::Platform;
use crate::sandbox::{Sandbox, SandboxAccount};
use crate::settings::{Config, DEMO_URL};

/// Whether these base URLs are those of an account whose platform the worker plays itself if it runs without a
/// configuration file.
pub fn is_played(base_urls: &[String]) -> bool {
    base_urls.iter().all(|url| url == DEMO_URL)
}

/// Plays the platforms of the demo's accounts on a free loopback port, and points the accounts there. An account that
/// the environment points elsewhere stays as it is. Returns `None` if no account is left.
///
/// # Errors
/// Exits with 1 if the sandbox cannot be started.
pub async fn platforms(config: &mut Config) -> Result<Option<Sandbox>, Exit> {
    let mut accounts = accounts(config);
    accounts.retain(|a| config.accounts.get(a.name.as_str()).is_some_and(|own| is_played(&own.base_urls)));
    if accounts.is_empty() {
        return Ok(None);
    }
    let sandbox = Sandbox::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), accounts)
        .await
        .map_err(|error| Exit::failed(format!("the sandbox does not start: {error}")))?;
    for account in config.accounts.values_mut() {
        // The worker is not built yet, so nobody else holds the account.
        if let Some(account) = Arc::get_mut(account).filter(|a| is_played(&a.base_urls)) {
            account.base_urls = vec![sandbox.base_url()];
        }
    }
    Ok(Some(sandbox))
}

/// The worker's accounts as the sandbox needs them.
pub fn accounts(config: &Config) -> Vec<SandboxAccount> {
    let known = |account: &Account| {
        let mut settings = account.settings.read();
        if let Some(path) = &account.path {
            settings.insert("path".to_owned(), path.as_str().into());
        }
        let file = config.platforms.own().find(|platform| platform.name() == account.platform);
        SandboxAccount {
            name: account.name.to_string(),
            platform: account.platform.to_owned(),
            settings,
            platform_file: file.map(|platform| platform.text().into()),
            credentials: account.credentials.iter().map(|c| (c.key.clone(), c.secret.expose().to_owned())).collect(),
        }
    };
    config.accounts.values().map(|account| known(account)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_demos_accounts_are_played_and_those_led_elsewhere_are_left_alone() {
        let other = "http://127.0.0.1:1";
        let env = ("POSTBACK__ACCOUNTS__DEMO_BAIZHU__BASE_URL".to_owned(), other.to_owned());
        let mut config = Config::load(None, [env]).unwrap_or_else(|found| panic!("{found}")).config;
        let sandbox = platforms(&mut config).await.unwrap().unwrap();
        for account in config.accounts.values() {
            let expected = if &*account.name == "demo-baizhu" { other.to_owned() } else { sandbox.base_url() };
            assert_eq!(account.base_urls, [expected], "{}", account.name);
        }
        assert!(platforms(&mut config).await.unwrap().is_none(), "played twice");
        sandbox.shutdown().await;
    }
}
