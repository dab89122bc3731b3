//! `POST /reload`: reads the configuration file again.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;

use super::change::Change;
use crate::admin::answer::{Answer, Answered};
use crate::admin::endpoint::Endpoint;
use crate::admin::parts::Parts;
use crate::admin::refusal::Refusal;
use crate::admin::request::Body;
use crate::operate::reload::{ReloadError, ReloadReport};

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::post::<Change, ReloadReport, _>(
            "/reload",
            "Reload accounts, limits, platform files and the log filter on this replica",
            reload,
        )
        .says(
            "The new file is judged as a whole before anything of it takes effect. If it cannot be used, the old one stays, \
             and the message names every problem, one per line. `reason` is optional. Audited.",
        )
        .refuses(&[409, 422, 503]),
    ]
}

async fn reload(State(parts): State<Arc<Parts>>, Body(change): Body<Change>) -> Answered<ReloadReport> {
    let by = change.by()?.at(&parts.worker.id);
    parts.worker.reloads.ask(by).await.map(Answer).map_err(refuse)
}

fn refuse(error: ReloadError) -> Refusal {
    match error {
        ReloadError::Invalid(problems) => {
            let text = format!("the old configuration stays in force:\n{}", problems.join("\n"));
            Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, text).with_code("invalid_configuration")
        }
        ReloadError::Busy => Refusal::new(StatusCode::CONFLICT, "other reloads are under way; try again in a moment"),
        ReloadError::NotRunning => {
            let text = "the worker is starting or stopping; try again when /ready answers 200";
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, text)
        }
        ReloadError::Unavailable(why) => Refusal::new(StatusCode::SERVICE_UNAVAILABLE, why),
    }
}
