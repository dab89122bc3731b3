//! Reads from Redis which dead letters were replayed, and the entries of the audit that no topic has yet.

use std::collections::{BTreeMap, BTreeSet};

use ::redis::aio::MultiplexedConnection;

use super::shared::Source;
use crate::operate::audit::{self, AuditRecord};
use crate::operate::keys::{Keys, LetterTopic, OFFSETS_PER_KEY};
use crate::redact::mask_text;
use crate::redis;

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
            let topic = LetterTopic::note(&mut connection, keys, id).await.map_err(|error| said(&error))?;
            let bitmaps = bitmaps(&mut connection, &keys.of(&topic), chunks).await.map_err(|error| said(&error))?;
            let waiting = audit::waiting(&mut connection, keys).await.map_err(|error| said(&error))?;
            Ok((connection, Read { topic, bitmaps, waiting }))
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
) -> ::redis::RedisResult<Bitmaps> {
    let chunks: Vec<(i32, i64)> = chunks.iter().copied().collect();
    let mut found = Bitmaps::new();
    for part in chunks.chunks(PIPELINE) {
        let mut pipe = ::redis::pipe();
        for (partition, chunk) in part {
            pipe.cmd("GET").arg(keys.replayed(*partition, *chunk * OFFSETS_PER_KEY));
        }
        let bits: Vec<Option<Vec<u8>>> = pipe.query_async(connection).await?;
        found.extend(part.iter().copied().zip(bits).filter_map(|(place, bits)| Some((place, bits?))));
    }
    Ok(found)
}
