//! A client of a worker's API, for the commands and the demo.

use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::exit::Exit;
use crate::redact::mask_text;
use crate::secret::SecretString;

const PATIENCE: Duration = Duration::from_secs(5);

/// A client of one worker's API.
pub struct Api {
    base: String,
    token: Option<SecretString>,
    client: reqwest::Client,
}

impl Api {
    /// Builds a client for the API at `base`, the part of the URL before `/api/v1`. A base without a scheme means
    /// `http://`.
    ///
    /// # Errors
    /// Fails if the URL cannot be used.
    pub fn new(base: &str, token: Option<SecretString>) -> anyhow::Result<Api> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let base = if base.contains("://") { base.to_owned() } else { format!("http://{base}") };
        let usable = |url: &url::Url| matches!(url.scheme(), "http" | "https") && url.has_host();
        if url::Url::parse(&base).ok().filter(usable).is_none() {
            bail!(Exit::usage("--admin must be a URL such as http://127.0.0.1:9464"));
        }
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(PATIENCE)
            .build()
            .context("no HTTP client can be made")?;
        Ok(Api { base: base.trim_end_matches('/').to_owned(), token: token.filter(|t| !t.expose().is_empty()), client })
    }

    /// Sends `GET /api/v1/<path>`.
    ///
    /// # Errors
    /// Fails if there is no answer, or with the text of a refusal.
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.send(self.client.get(self.url(path))).await
    }

    /// Sends `POST /api/v1/<path>` with a JSON body.
    ///
    /// # Errors
    /// Fails if there is no answer, or with the text of a refusal.
    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.send(self.client.post(self.url(path)).header("content-type", "application/json").body(body.to_string()))
            .await
    }

    /// Sends `PATCH /api/v1/<path>` with a JSON body.
    ///
    /// # Errors
    /// Fails if there is no answer, or with the text of a refusal.
    pub async fn patch(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.send(self.client.patch(self.url(path)).header("content-type", "application/json").body(body.to_string()))
            .await
    }

    fn url(&self, path: &str) -> String {
        format!("{}/api/v1/{path}", self.base)
    }

    async fn send(&self, mut request: reqwest::RequestBuilder) -> anyhow::Result<Value> {
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.expose());
        }
        let base = mask_text(&self.base).into_owned();
        // The error itself says only that it is one; its cause names it, e.g. a refused connection.
        let no_answer = |error: reqwest::Error| {
            let error = anyhow::Error::new(error.without_url());
            anyhow::anyhow!(
                "{base} does not answer: {}; start the worker, or name its address with --admin",
                error.root_cause()
            )
        };
        let response = request.send().await.map_err(no_answer)?;
        let status = response.status();
        let body = response.bytes().await.map_err(no_answer)?;
        let value: Value = serde_json::from_slice(&body).unwrap_or_default();
        if status.is_success() {
            return Ok(value);
        }
        match value["error"]["message"].as_str() {
            Some(error) if status == 401 => bail!("{base} refused: {error} (--token, or POSTBACK_ADMIN_TOKEN)"),
            // The worker knows no such account.
            Some(error) if status == 404 => bail!(Exit::usage(format!("{base} refused: {error}"))),
            Some(error) => bail!("{base} refused: {error}"),
            None => bail!("{base} answered {status}: is that a postback worker?"),
        }
    }
}
