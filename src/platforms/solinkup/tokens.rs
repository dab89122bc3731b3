//! Access tokens: issued for an authorisation code, renewed with the refresh token (SPEC 4.7). Both end, and in the
//! platform's own sample the refresh token does so first.

use std::sync::Arc;

use serde_json::Value;

use crate::error::{Answer, DeliveryError, Fault};
use crate::platforms::http_status::{judge, safe_code};
use crate::platforms::reading::{HttpAnswer, Reading};
use crate::platforms::solinkup::body::Own;
use crate::platforms::solinkup::catalog::Name;
use crate::platforms::solinkup::config::Settings;
use crate::platforms::solinkup::read::codes::{is_about_the_clock, number};
use crate::platforms::solinkup::read::envelope::{Refused, Unwrapped, open};
use crate::platforms::solinkup::read::parsed;
use crate::platforms::tokens::{Grant, Issued, Life, TokenSource};
use crate::platforms::{Context, Request};
use crate::secret::SecretString;

/// How an account gets its tokens.
pub(super) struct Tokens(pub(super) Arc<Settings>);

impl TokenSource for Tokens {
    fn token_request(&self, grant: Grant<'_>, context: &Context<'_>) -> Result<Request, Fault> {
        let (call, own) = match grant {
            Grant::Code(code) => (Name::TokenGet, Own::token("authCode", code)),
            Grant::Refresh(token) => (Name::TokenRefresh, Own::token("refreshToken", token)),
        };
        self.0.request(call, &[own], context)
    }

    fn token_from(&self, http: &HttpAnswer<'_>) -> Result<Issued, DeliveryError> {
        let body = parsed(http.body).unwrap_or_default();
        let envelope = open(Name::TokenGet, &body);
        if let (Unwrapped::Success { data, .. }, 200..=299) = (&envelope, http.status)
            && let Some(issued) = issued(data)
        {
            return Ok(issued);
        }
        let refused = || match &envelope {
            Unwrapped::Refused(refused) => Reading::All(Err(refusal(refused, http))),
            Unwrapped::Success { .. } | Unwrapped::Unknown => Reading::Nothing,
        };
        match judge(1, http, refused).one() {
            Err(error) => Err(error),
            // Not said of an answer without tokens.
            Ok(_) => Err(DeliveryError::Retry(http.answer())),
        }
    }

    fn refresh_at_ms(&self, life: &Life) -> Option<i64> {
        Some(life.first_end_ms()?.saturating_sub(self.0.refresh_before_ms))
    }
}

fn issued(data: &Value) -> Option<Issued> {
    let token = |name: &str| data[name].as_str().filter(|token| !token.is_empty()).map(SecretString::new);
    Some(Issued {
        access: token("accessToken")?,
        refresh: token("refreshToken"),
        access_ends_ms: number(&data["accessTokenExpired"]),
        refresh_ends_ms: number(&data["refreshTokenExpired"]),
    })
}

/// Whoever is refused a token has to be authorised anew; only a refused timestamp says nothing about that.
fn refusal(refused: &Refused, http: &HttpAnswer<'_>) -> DeliveryError {
    let answer = |detail: &str| Answer { code: safe_code(&refused.code), detail: detail.into(), ..http.answer() };
    if is_about_the_clock(&refused.words) {
        return DeliveryError::Retry(answer("the platform refuses the timestamp"));
    }
    DeliveryError::Halt(answer("the platform issues no token"))
}
