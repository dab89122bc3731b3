//! Finds settings that the client library accepts one by one but refuses together, such as `retries = 0` with the
//! idempotence that the worker sets. The library reports such a conflict only when a client is created.

use rdkafka::ClientConfig;
use rdkafka::client::{Client, DefaultClientContext};
use rdkafka::types::RDKafkaType;

use super::{ALONE, PARKING, SettingsError, admin, intake, producer, reader, waiting};
use crate::kafka::Config;

/// Creates each kind of client that the worker and its commands use, and closes it again. The clients get no broker's
/// address, so no broker is asked.
///
/// # Errors
/// Fails on the first client that cannot be created.
pub fn try_clients(config: &Config) -> Result<(), SettingsError> {
    use RDKafkaType::{RD_KAFKA_CONSUMER as CONSUMER, RD_KAFKA_PRODUCER as PRODUCER};
    let with = |settings: &[(&str, &str)]| {
        let mut client = producer(config, 0)?;
        settings.iter().for_each(|(key, value)| _ = client.set(*key, *value));
        Ok::<_, SettingsError>(client)
    };
    for client in [with(&[])?, with(&ALONE)?, with(&PARKING)?, admin(config, None)?] {
        try_client(client, PRODUCER)?;
    }
    for client in [intake(config)?, waiting(config, usize::MAX)?, admin(config, Some(&config.group))?, reader(config)?]
    {
        try_client(client, CONSUMER)?;
    }
    Ok(())
}

fn try_client(mut client: ClientConfig, kind: RDKafkaType) -> Result<(), SettingsError> {
    client.remove("bootstrap.servers");
    let native = client.create_native_config();
    let made = native.and_then(|native| Client::new(&client, native, kind, DefaultClientContext));
    made.map(drop).map_err(|e| SettingsError::Refused(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(properties: &[(&str, &str)]) -> Result<(), String> {
        try_clients(&Config::stub("127.0.0.1:1", properties)).map_err(|e| e.to_string())
    }

    #[test]
    fn settings_that_the_library_refuses_together_are_refused_before_anything_is_asked() {
        assert_eq!(tried(&[("linger.ms", "5"), ("session.timeout.ms", "30000"), ("retries", "3")]), Ok(()));
        for (key, value) in [
            ("retries", "0"),
            ("max.in.flight", "10"),
            ("session.timeout.ms", "400000"),
            ("max.poll.interval.ms", "1000"),
            ("reconnect.backoff.ms", "60000"),
            ("receive.message.max.bytes", "1000"),
        ] {
            let why = tried(&[(key, value)]).unwrap_err();
            assert!(why.starts_with("kafka.properties: ") && why.contains(key), "{key}: {why}");
        }
        assert!(tried(&[("security.protocol", "ssl"), ("ssl.ca.location", "/no/such/file")]).is_err());
    }

    #[test]
    fn what_only_the_producer_of_parking_topics_cannot_do_is_refused_too() {
        assert_eq!(tried(&[("linger.ms", "9000")]), Ok(()));
        let why = tried(&[("linger.ms", "15000")]).unwrap_err();
        assert!(why.contains("linger.ms"), "{why}");
    }
}
