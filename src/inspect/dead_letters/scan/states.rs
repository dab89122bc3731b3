//! Reads from Redis which dead letters were replayed.

use std::collections::{BTreeMap, BTreeSet};

use ::redis::aio::MultiplexedConnection;

use super::shared::Source;
use crate::operate::keys::{Keys, OFFSETS_PER_KEY};
use crate::redact::mask_text;
use crate::redis;

/// Bitmaps per pipeline: 8 KiB each at most.
const PIPELINE: usize = 64;

/// The bitmaps by partition and number of the chunk.
pub(super) type Bitmaps = BTreeMap<(i32, i64), Vec<u8>>;

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

    /// Reads the bitmaps of these chunks; those that nobody has written are left out.
    ///
    /// # Errors
    /// Redis does not answer; the text is safe.
    pub(super) fn read(&mut self, chunks: &BTreeSet<(i32, i64)>) -> Result<Bitmaps, String> {
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
            let bitmaps = bitmaps(&mut connection, keys, chunks).await.map_err(|error| said(&error))?;
            Ok((connection, bitmaps))
        });
        let (connection, bitmaps) = read?;
        self.connection = Some(connection);
        Ok(bitmaps)
    }
}

fn said(error: &::redis::RedisError) -> String {
    format!("which dead letters were replayed is not known: Redis: {}", mask_text(&error.to_string()))
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
