//! What a reload means for the topics: which are made, and whether the window still outlives every way back.

use crate::app::start::{self, Looked, Waits};
use crate::kafka::topics::OwnedTopic;
use crate::operate::reload::ReloadError;
use crate::settings::Config;

/// Whether topics have to be made, or judged again because records come back for longer.
pub(super) fn needs_topics(old: &Config, new: &Config) -> bool {
    let known = start::topics_of(old);
    start::topics_of(new).iter().any(|topic| !known.contains(topic))
}

/// Whether the settings may take effect after this look at the topics. While it is unknown how long an input keeps its
/// records, nobody can say whether the window outlives the new ways back.
pub(super) fn allows(looked: Looked) -> Result<(), ReloadError> {
    match looked {
        Looked::Refused(why) => Err(ReloadError::Invalid(why.lines().map(str::to_owned).collect())),
        Looked::Waiting(waits @ Waits::Unread(_)) => {
            Err(ReloadError::Unavailable(format!("kafka: {waits}; then reload again")))
        }
        Looked::Fit(_) | Looked::Waiting(Waits::Missing(_)) => Ok(()),
    }
}

/// Watches these topics from now on, with the settings that they have to have now.
pub(super) fn watch(owned: &mut Vec<OwnedTopic>, topics: Vec<OwnedTopic>) {
    for topic in topics {
        match owned.iter_mut().find(|known| known.name == topic.name) {
            Some(known) => *known = topic,
            None => owned.push(topic),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::account::Account;

    fn config(max_parked_days: u64) -> Config {
        let mut config = Config::load(None, []).unwrap_or_else(|found| panic!("{found}")).config;
        let mut account = Account::stub("acme");
        account.retry.max_parked = Duration::from_secs(max_parked_days * 86_400);
        config.accounts = [("acme".into(), Arc::new(account))].into();
        config
    }

    #[test]
    fn longer_ways_back_take_effect_only_where_the_window_can_be_judged() {
        assert!(!needs_topics(&config(3), &config(3)) && needs_topics(&config(3), &config(9)));
        assert_eq!(allows(Looked::Fit(start::Fit::default())), Ok(()));
        assert_eq!(allows(Looked::Waiting(Waits::Missing("in".into()))), Ok(()), "nothing comes back");
        let refused = allows(Looked::Refused("one\ntwo".into()));
        assert_eq!(refused, Err(ReloadError::Invalid(vec!["one".into(), "two".into()])));
        let Err(ReloadError::Unavailable(why)) = allows(Looked::Waiting(Waits::Unread("in".into()))) else {
            panic!("it took effect")
        };
        assert!(why.contains("topic in") && why.contains("DescribeConfigs") && why.contains("reload again"), "{why}");
    }

    #[test]
    fn a_topic_that_vanishes_after_a_reload_is_made_again_for_the_ways_back_of_now() {
        let mut owned = start::topics_of(&config(3));
        let count = owned.len();
        watch(&mut owned, start::topics_of(&config(11)));
        assert_eq!((owned.len(), owned == start::topics_of(&config(11))), (count, true));
        let mut more = config(11);
        more.accounts.insert("other".into(), Arc::new(Account::stub("other")));
        watch(&mut owned, start::topics_of(&more));
        assert_eq!(owned.len(), count + 1);
    }
}
