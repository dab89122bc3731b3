//! Publishes the audit entry of a command's change, so that it is in Kafka even if no worker runs.

use std::time::Duration;

use ::redis::aio::MultiplexedConnection;

use crate::kafka::Config;
use crate::kafka::producer::Producer;
use crate::operate::Keys;
use crate::operate::audit::publish::publish;

/// How long a command waits for Kafka.
const PATIENCE: Duration = Duration::from_secs(5);

/// Publishes what waits in the outbox. The change was made already, so that a failure only gives a note: the entry
/// stays in Redis, and the next worker publishes it.
pub async fn publish_waiting(connection: &mut MultiplexedConnection, keys: &Keys, kafka: &Config) {
    if let Err(why) = try_publish(connection, keys, kafka, PATIENCE).await {
        eprintln!("note: the entry of the audit waits in Redis until a worker publishes it: {why}");
    }
}

async fn try_publish(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
    kafka: &Config,
    patience: Duration,
) -> Result<(), String> {
    let producer = Producer::new(kafka, 0).map_err(|e| e.to_string())?;
    let owner = format!("cli {:016x}", rand::random::<u64>());
    let published = tokio::time::timeout(patience, publish(connection, keys, &owner, &producer, &kafka.audit)).await;
    match published {
        Ok(Ok(published)) => published.trouble.into_iter().next().map_or(Ok(()), Err),
        Ok(Err(error)) => Err(crate::redis::error::describe(&error)),
        Err(_) => Err(format!("kafka.brokers: no answer within {} s", patience.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::broker::Broker;
    use crate::embedded::store::Store;
    use crate::operate::audit::{Via, waiting};
    use crate::operate::{By, lanes};

    #[tokio::test(flavor = "multi_thread")]
    async fn a_command_publishes_its_entry_and_leaves_it_in_redis_where_kafka_is_away() {
        let store = Store::start().unwrap();
        let client = crate::redis::Config::stub(store.url()).client().unwrap();
        let mut connection = crate::redis::connect(&client).await.unwrap();
        let (keys, by) = (Keys::new("pb"), By::new(Via::Cli, "li", "review"));
        lanes::pause(&mut connection, &keys, "acme", &by, 1).await.unwrap();

        let (away, soon) = (Config::stub("127.0.0.1:1", &[]), Duration::from_millis(300));
        let why = try_publish(&mut connection, &keys, &away, soon).await.unwrap_err();
        assert!(why.contains("kafka.brokers"), "{why}");
        assert_eq!(waiting(&mut connection, &keys).await.unwrap().len(), 1);

        let () = ::redis::cmd("DEL").arg(keys.audit_turn()).query_async(&mut connection).await.unwrap();
        let broker = Broker::start(&[("postback.audit".into(), 1)]).unwrap();
        try_publish(&mut connection, &keys, &Config::stub(broker.address(), &[]), PATIENCE).await.unwrap();
        assert!(waiting(&mut connection, &keys).await.unwrap().is_empty());
    }
}
