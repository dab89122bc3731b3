//! Tells Redis which accounts received records from which topic, and reads what the other members wrote.

use ::redis::RedisResult;
use ::redis::aio::MultiplexedConnection;

use crate::lane::handle::known::{Known, LATELY};
use crate::lane::handle::lanes::Lanes;
use crate::operate::Keys;

/// The most keys in one command or pipeline.
const AT_ONCE: usize = 1_000;

/// Writes new entries and reads the entries that are due. The caller calls it about once a second.
///
/// # Errors
/// Fails if Redis does not answer. New entries then stay new.
pub async fn exchange(known: &Known, c: &mut MultiplexedConnection, keys: &Keys, lanes: &Lanes) -> RedisResult<()> {
    let news = known.news(AT_ONCE);
    if !news.is_empty() {
        let mut pipe = ::redis::pipe();
        for (topic, lane) in &news {
            let key = keys.arrived(topic, &lanes.get(*lane).id.name());
            pipe.cmd("SET").arg(key).arg(1).arg("PX").arg(LATELY.as_millis() as u64).ignore();
        }
        let () = pipe.query_async(c).await?;
        known.told(&news);
    }
    for topic in known.due() {
        let found = read(c, keys, &topic, lanes).await?;
        known.set(&topic, found);
    }
    Ok(())
}

async fn read(c: &mut MultiplexedConnection, keys: &Keys, topic: &str, lanes: &Lanes) -> RedisResult<Vec<usize>> {
    let all: Vec<_> = lanes.iter().map(|lane| (lane.id.index, keys.arrived(topic, &lane.id.name()))).collect();
    let mut found = Vec::new();
    for some in all.chunks(AT_ONCE) {
        let mut get = ::redis::cmd("MGET");
        some.iter().for_each(|(_, key)| _ = get.arg(key));
        let values: Vec<Option<Vec<u8>>> = get.query_async(c).await?;
        found.extend(some.iter().zip(values).filter(|(_, value)| value.is_some()).map(|((index, _), _)| *index));
    }
    Ok(found)
}
