//! Where a replay command goes: to Redis and Kafka, or to the API of a worker.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::admin::client::Api;
use crate::cli::audit::publish_waiting;
use crate::cli::source::Access;
use crate::cli::{embedded, load};
use crate::exit::Exit;
use crate::inspect::dead_letters::scan::{Scan, Source};
use crate::operate::Keys;
use crate::operate::audit::By;
use crate::replay::{ReplayError, ReplayView, Replays, Request, Setup};
use crate::settings::Config;

/// Where the command goes.
pub enum Target {
    /// `--admin URL`.
    Api(Api),
    Redis(Box<Direct>),
}

/// Redis and Kafka of the configuration.
pub struct Direct {
    replays: Replays,
    config: Config,
}

impl Target {
    /// Connects to what the options name. `plans`: plans are to be made.
    ///
    /// # Errors
    /// 2 where the configuration is bad, 1 where nobody answers.
    pub async fn open(access: &Access, plans: bool) -> Result<Self, Exit> {
        if let Some(api) = access.api().map_err(Exit::from)? {
            return Ok(Target::Api(api));
        }
        let mut config = load(access.config.as_deref())?;
        embedded::reach(&mut config, None).await?;
        // If a TLS provider is installed already, this call fails and changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = config.redis.client().map_err(Exit::usage)?;
        let replays = if plans {
            let usage = |error: &dyn std::fmt::Display| Exit::usage(error.to_string());
            let (prefix, window) = (&config.redis.prefix, config.dedupe.window);
            let setup = Setup::new(client, prefix, &config.kafka, config.roster().live(), window);
            let source = Source { kafka: config.kafka.clone(), redis: config.redis.clone() };
            let scan =
                Scan::start(source).map_err(|error| Exit::failed(format!("no thread for the search: {error}")))?;
            Replays::with_plans(setup.map_err(|error| usage(&error))?, Arc::new(scan))
        } else {
            Replays::new(client, Keys::new(&config.redis.prefix))
        };
        Ok(Target::Redis(Box::new(Direct { replays, config })))
    }

    /// Begins a plan, or makes it.
    ///
    /// # Errors
    /// 2 for a bad request, 1 where nobody answers.
    pub async fn plan(&self, request: &Request, by: &By) -> Result<ReplayView, Exit> {
        match self {
            Target::Api(api) => view(api.post("replays", &body(request)).await),
            Target::Redis(direct) => {
                direct.replays.plan(request, by, Duration::from_millis(300)).await.map_err(refused)
            }
        }
    }

    /// # Errors
    /// 2 where there is none, 1 where nobody answers.
    pub async fn get(&self, id: &str) -> Result<ReplayView, Exit> {
        match self {
            Target::Api(api) => view(api.get(&format!("replays/{}", escaped(id))).await),
            Target::Redis(direct) => direct.replays.get(id).await.map_err(refused),
        }
    }

    /// # Errors
    /// 1 where nobody answers.
    pub async fn list(&self) -> Result<Vec<ReplayView>, Exit> {
        match self {
            Target::Api(api) => view(api.get("replays").await.map(|mut answer| answer["items"].take())),
            Target::Redis(direct) => direct.replays.list().await.map_err(refused),
        }
    }

    /// Runs, cancels or resumes a replay.
    ///
    /// # Errors
    /// 2 where there is none, 1 where it is in another state or nobody answers.
    pub async fn change(&self, what: &str, id: &str, by: &By) -> Result<ReplayView, Exit> {
        match self {
            Target::Api(api) => {
                let body = json!({"who": by.who, "via": by.via, "why": by.why});
                view(api.post(&format!("replays/{}/{what}", escaped(id)), &body).await)
            }
            Target::Redis(direct) => {
                let replays = &direct.replays;
                let changed = match what {
                    "run" => replays.run(id, by).await,
                    "resume" => replays.resume(id, by).await,
                    _ => replays.cancel(id, by).await,
                };
                direct.audited(changed).await
            }
        }
    }

    /// Changes the rate of a replay.
    ///
    /// # Errors
    /// As for [`Target::change`].
    pub async fn rate(&self, id: &str, rate: u32, by: &By) -> Result<ReplayView, Exit> {
        match self {
            Target::Api(api) => {
                let body = json!({"rate": rate, "who": by.who, "via": by.via, "why": by.why});
                view(api.patch(&format!("replays/{}", escaped(id)), &body).await)
            }
            Target::Redis(direct) => direct.audited(direct.replays.rate(id, rate, by).await).await,
        }
    }
}

impl Direct {
    /// Publishes the audit entry of a change, so that it is in Kafka even if no worker runs.
    async fn audited(&self, changed: Result<ReplayView, ReplayError>) -> Result<ReplayView, Exit> {
        let view = changed.map_err(refused)?;
        let client = self.config.redis.client().map_err(Exit::usage)?;
        if let Ok(mut connection) = crate::redis::connect(&client).await {
            publish_waiting(&mut connection, &Keys::new(&self.config.redis.prefix), &self.config.kafka).await;
        }
        Ok(view)
    }
}

fn body(request: &Request) -> Value {
    let mut body = json!({
        "rate": request.rate, "force": request.force, "no_brake": request.no_brake,
        "who": request.who, "via": request.via, "why": request.why,
    });
    if request.items.is_empty() {
        body["filter"] = serde_json::to_value(&request.filter).unwrap_or_default();
    } else {
        body["items"] = json!(request.items);
    }
    body
}

fn view<T: serde::de::DeserializeOwned>(answer: anyhow::Result<Value>) -> Result<T, Exit> {
    let value = answer.map_err(Exit::from)?;
    serde_json::from_value(value).map_err(|error| {
        Exit::failed(format!("the worker speaks of replays in another form ({error}): is it of another version?"))
    })
}

fn refused(error: ReplayError) -> Exit {
    match error {
        ReplayError::Bad { .. } | ReplayError::NotFound(_) => Exit::usage(error.to_string()),
        _ => Exit::failed(error.to_string()),
    }
}

fn escaped(id: &str) -> String {
    percent_encoding::utf8_percent_encode(id, percent_encoding::NON_ALPHANUMERIC).to_string().replace("%2D", "-")
}
