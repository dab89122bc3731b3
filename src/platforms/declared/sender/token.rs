//! Access tokens, as `[token]` asks for them and reads them.

use minijinja::Value;

use super::Bound;
use super::answer::Said;
use super::compose::Failure;
use crate::error::{Answer, DeliveryError, Fault};
use crate::platforms::declared::answer_json::AnswerJson;
use crate::platforms::declared::blobs::Reader;
use crate::platforms::declared::engine::{Content, Scope, Variable};
use crate::platforms::declared::program::{NO_RATIO, ratio};
use crate::platforms::http_status::{judge, safe_code};
use crate::platforms::reading::{HttpAnswer, Reading};
use crate::platforms::tokens::{Grant, Issued, Life, TokenSource};
use crate::platforms::{Context, Problem, Request};
use crate::secret::SecretString;

impl Bound {
    /// The share of a token's life after which it is refreshed, as the file or the account states it.
    ///
    /// # Errors
    /// The key that states none.
    pub(super) fn stated_ratio(&self) -> Result<Option<f64>, Problem> {
        let Some(rules) = &self.program.token else { return Ok(None) };
        let scope = Scope::new().with(Variable::Account, Content::Account(&self.account));
        let mut text = String::new();
        let rendered = rules.refresh_ratio.render(&scope, &mut text);
        if rendered.is_ok() && text.is_empty() {
            return Ok(None);
        }
        ratio(&text).map(Some).ok_or_else(|| {
            let uses = rules.refresh_ratio.uses();
            let key = uses.of(Variable::Account).next().unwrap_or("token.refresh_ratio");
            (key.to_owned(), format!("{NO_RATIO}: token.refresh_ratio is made of it"))
        })
    }
}

impl TokenSource for Bound {
    fn token_request(&self, grant: Grant<'_>, context: &Context<'_>) -> Result<Request, Fault> {
        let rules = self.program.token.as_ref().ok_or_else(|| Fault::whole("the platform has no tokens"))?;
        let (name, secret) = match grant {
            Grant::Refresh(token) => ("refresh", token.expose()),
            Grant::Code(code) => ("code", code.expose()),
        };
        let access = context.token.map(|token| ("access", token.expose()));
        let token = Value::from_pairs(access.into_iter().chain([(name, secret)]));
        let scope = Scope::new()
            .with(Variable::Account, Content::Account(&self.account))
            .with(Variable::NowMs, Content::Int(context.now_ms))
            .with(Variable::Token, Content::Value(token));
        let form = &rules.request;
        self.masked(form, Some(secret), || self.rendered(form, Reader::default(), scope, false))
            .map_err(|failure: Failure| failure.into())
    }

    fn token_from(&self, answer: &HttpAnswer<'_>) -> Result<Issued, DeliveryError> {
        let Some(rules) = &self.program.token else { return Err(DeliveryError::Halt(answer.answer())) };
        let body = AnswerJson::read(answer.body);
        let scope = self.seen(answer, body.as_ref());
        let said = Said { scope: &scope, answer, code: &self.program.answer.code };
        let failed = said.holds(&rules.failed);
        let access = said.text(&rules.access);
        if failed || access.is_empty() || !(200..=299).contains(&answer.status) {
            let refused = || {
                let code = safe_code(&said.text(&self.program.answer.code));
                let detail = "the platform issues no token: authorise the account anew".to_owned();
                DeliveryError::Halt(Answer { code, detail, ..answer.answer() })
            };
            let told = || Reading::All(Err(if failed { refused() } else { said.unknown() }));
            // An endpoint that is broken or overloaded refuses nobody, whatever its body says.
            return Err(judge(1, answer, told).one().err().unwrap_or_else(|| said.unknown()));
        }
        let refresh = said.text(&rules.refresh);
        let number = |rule: &Option<_>| said.number(&rule.as_ref());
        let span = number(&rules.expires_in).map(|seconds| answer.now_ms.saturating_add(seconds.saturating_mul(1000)));
        Ok(Issued {
            access: SecretString::new(access),
            refresh: (!refresh.is_empty()).then(|| SecretString::new(refresh)),
            access_ends_ms: number(&rules.expires_at_ms).or(span),
            refresh_ends_ms: number(&rules.refresh_expires_at_ms),
        })
    }

    fn refresh_at_ms(&self, life: &Life) -> Option<i64> {
        match self.refresh_ratio {
            Some(ratio) => life.after(ratio),
            None => life.usual_refresh_ms(),
        }
    }
}
