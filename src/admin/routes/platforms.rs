//! `GET /platforms`: what there is to send to.

use std::sync::Arc;

use axum::extract::State;

use crate::admin::answer::Answer;
use crate::admin::endpoint::Endpoint;
use crate::admin::parts::Parts;
use crate::inspect::platforms::PlatformView;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let summary = "Every platform: what an account of it needs, what it dedupes by, what is not confirmed";
    vec![Endpoint::get::<Vec<PlatformView>, _>("/platforms", summary, platforms)]
}

async fn platforms(State(parts): State<Arc<Parts>>) -> Answer<Vec<PlatformView>> {
    Answer(parts.worker.config.load().platforms.all().map(PlatformView::new).collect())
}
