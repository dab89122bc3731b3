//! Reads from Redis which dead letters were replayed, and the entries of the audit that no topic has yet.

use std::collections::{BTreeMap, BTreeSet};

use ::redis::aio::MultiplexedConnection;

use super::shared::Source;
use crate::operate::audit::{self, AuditRecord};
use crate::operate::keys::{Keys, LetterTopic, OFFSETS_PER_KEY};
use crate::redact::mask_text;
use crate::redis;
use crate::redis::foreign::{ForeignKeys, text, unless};

/// Bitmaps per pipeline: 8 KiB each at most.
const PIPELINE: usize = 64;

/// What Redis knows.
pub(super) struct Read {
    /// The topic whose marks these are.
    pub(super) topic: LetterTopic,
    /// The bitmaps by partition and number of the chunk.
    pub(super) bitmaps: Bitmaps,
    /// The entries of the audit that no topic has yet.
    pub(super) waiting: Vec<AuditRecord>,
}

type Bitmaps = BTreeMap<(i32, i64), Vec<u8>>;

/// The connection, as long as it works.
pub(super) struct States {
    config: redis::Config,
    keys: Keys,
    runtime: Option<tokio::runtime::Runtime>,
    connection: Option<MultiplexedConnection>,
}

impl States {
    pub(super) fn new(source: &Source) -> Self {
        // If a TLS provider is installed already, this call fails and changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok();
        let keys = Keys::new(&source.redis.prefix);
        Self { config: source.redis.clone(), keys, runtime, connection: None }
    }

    /// Reads the bitmaps of these chunks of the topic with this id, of which those are left out that nobody has
    /// written, and what waits.
    ///
    /// # Errors
    /// Redis does not answer; the text is safe.
    pub(super) fn read(&mut self, id: Option<String>, chunks: &BTreeSet<(i32, i64)>) -> Result<Read, String> {
        let Some(runtime) = &self.runtime else { return Err("no runtime for Redis".to_owned()) };
        let kept = self.connection.take();
        let (config, keys) = (&self.config, &self.keys);
        let read: Result<_, String> = runtime.block_on(async {
            let mut connection = match kept {
                Some(connection) => connection,
                None => {
                    let client = config.client()?;
                    redis::connect(&client).await.map_err(|error| said(&error))?
                }
            };
            let (c, foreign) = (&mut connection, ForeignKeys::default());
            let read = async {
                let topic = LetterTopic::note(c, keys, id).await;
                let topic = unless(topic, &keys.letter_topic(), &foreign)?.unwrap_or_default();
                let bitmaps = bitmaps(c, &keys.of(&topic), chunks, &foreign).await?;
                // Nothing waits under a key of another type.
                let waiting = unless(audit::waiting(c, keys).await, &keys.audit_out(), &ForeignKeys::default())?;
                ::redis::RedisResult::Ok(Read { topic, bitmaps, waiting: waiting.unwrap_or_default() })
            };
            let read = read.await.map_err(|error| said(&error))?;
            // Without these it is not known what is open.
            let names = foreign.names();
            if names.is_empty() { Ok((connection, read)) } else { Err(text(&names)) }
        });
        let (connection, read) = read?;
        self.connection = Some(connection);
        Ok(read)
    }
}

fn said(error: &::redis::RedisError) -> String {
    mask_text(&error.to_string()).into_owned()
}

async fn bitmaps(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
    chunks: &BTreeSet<(i32, i64)>,
    foreign: &ForeignKeys,
) -> ::redis::RedisResult<Bitmaps> {
    let chunks: Vec<(i32, i64)> = chunks.iter().copied().collect();
    let mut found = Bitmaps::new();
    for part in chunks.chunks(PIPELINE) {
        let key = |(partition, chunk): &(i32, i64)| keys.replayed(*partition, *chunk * OFFSETS_PER_KEY);
        let mut pipe = ::redis::pipe();
        pipe.ignore_errors();
        part.iter().for_each(|place| _ = pipe.cmd("GET").arg(key(place)));
        let replies: Vec<::redis::Value> = pipe.query_async(connection).await?;
        for (place, reply) in part.iter().zip(replies) {
            let bits = unless(reply.extract_error(), &key(place), foreign)?.map(::redis::from_redis_value);
            found.extend(bits.transpose()?.flatten().map(|bits| (*place, bits)));
        }
    }
    Ok(found)
}
