//! Tells the dead-letter topic from an earlier one. A mark of a dead letter names its partition and offset, and in a
//! topic that was deleted and made again the offsets begin anew: the marks of the earlier topic must hide nothing there.
//!
//! Marks that state no topic are those of the first topic that was noted here: that is what earlier versions wrote.

use ::redis::RedisResult;
use ::redis::aio::MultiplexedConnection;

use crate::operate::keys::Keys;

/// The dead-letter topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LetterTopic {
    /// `None`: the brokers have no ids.
    id: Option<String>,
    /// The topic that was noted first has another id.
    is_later: bool,
}

impl LetterTopic {
    /// The topic with this id. The first id is noted.
    ///
    /// # Errors
    /// Fails if Redis does not answer.
    pub async fn note(c: &mut MultiplexedConnection, keys: &Keys, id: Option<String>) -> RedisResult<Self> {
        let Some(id) = id else { return Ok(Self::default()) };
        let mut pipe = ::redis::pipe();
        pipe.cmd("SET").arg(keys.letter_topic()).arg(&id).arg("NX").ignore().cmd("GET").arg(keys.letter_topic());
        let (first,): (Option<String>,) = pipe.query_async(c).await?;
        Ok(Self { is_later: first.is_some_and(|first| first != id), id: Some(id) })
    }

    /// The first topic, or a later one.
    #[cfg(test)]
    pub(crate) fn stub(id: &str, is_later: bool) -> Self {
        Self { id: Some(id.to_owned()), is_later }
    }

    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The id that stands in the names of its marks.
    pub(super) fn mark(&self) -> Option<&str> {
        self.id().filter(|_| self.is_later)
    }

    /// Whether something that states this topic is about this one.
    pub fn is(&self, stated: Option<&str>) -> bool {
        match (self.id(), stated) {
            (Some(id), Some(stated)) => id == stated,
            (_, None) => !self.is_later,
            (None, Some(_)) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::store::Store;

    #[tokio::test]
    async fn only_the_topic_that_was_noted_first_has_the_marks_without_an_id() {
        let store = Store::start().unwrap();
        let client = crate::redis::Config::stub(store.url()).client().unwrap();
        let (mut c, keys) = (crate::redis::connect(&client).await.unwrap(), Keys::new("pb"));
        let mut topic = async |id: Option<&str>| {
            let id = id.map(str::to_owned);
            LetterTopic::note(&mut c, &keys, id).await.unwrap()
        };
        let (first, later) = (topic(Some("A")).await, topic(Some("B")).await);
        assert_eq!(topic(Some("A")).await, first);
        let none = topic(None).await;
        let key = |topic: &LetterTopic| keys.of(topic).replayed(2, 65_536);
        assert_eq!([key(&first), key(&none), key(&later)], ["pb:replayed:2:1", "pb:replayed:2:1", "pb:replayed:B:2:1"]);
        let is = |topic: &LetterTopic| [None, Some("A"), Some("B")].map(|stated| topic.is(stated));
        assert_eq!((is(&first), is(&later), is(&none)), ([true, true, false], [false, false, true], [true; 3]));
    }
}
