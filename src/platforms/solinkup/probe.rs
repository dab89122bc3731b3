//! Which signature the platform accepts (SPEC 4.3), tried on the list of templates: it reads, and needs no access
//! token.

use std::sync::Arc;

use crate::error::Fault;
use crate::platforms::probe::{Probe, ProbeReading, Variant};
use crate::platforms::reading::HttpAnswer;
use crate::platforms::solinkup::catalog::Name;
use crate::platforms::solinkup::config::Settings;
use crate::platforms::solinkup::read::envelope::{Unwrapped, open};
use crate::platforms::solinkup::read::{is_clock_refusal, parsed};
use crate::platforms::solinkup::sign::{Algorithm, Recipe, VersionLabel};
use crate::platforms::{Context, Request};

/// The variants that differ in this request. Both profiles sign the same members of it, as it carries no `signMethod`.
pub(super) struct Signatures {
    settings: Arc<Settings>,
    recipes: Vec<Recipe>,
    variants: Vec<Variant>,
}

impl Signatures {
    pub(super) fn new(settings: Arc<Settings>) -> Self {
        let mut recipes = Vec::new();
        for algorithm in Algorithm::ALL {
            for label in VersionLabel::ALL {
                recipes.push(Recipe { label, algorithm, ..settings.recipe.clone() });
            }
        }
        // What is configured is the likeliest.
        let is_other =
            |recipe: &Recipe| (recipe.label, recipe.algorithm) != (settings.recipe.label, settings.recipe.algorithm);
        recipes.sort_by_key(is_other);
        let quoted = |text: &str| format!("\"{text}\"");
        let variant = |recipe: &Recipe| Variant {
            keys: vec![
                ("sign.version_label", quoted(recipe.label.as_str())),
                ("sign.algorithm", quoted(recipe.algorithm.as_str())),
            ],
        };
        let variants = recipes.iter().map(variant).collect();
        Self { settings, recipes, variants }
    }
}

impl Probe for Signatures {
    fn variants(&self) -> &[Variant] {
        &self.variants
    }

    fn leaves_open(&self) -> &'static str {
        "sign.profile and sign.send_sign_method: the list of templates is signed alike with both profiles and carries no signMethod. \
         Where calls are refused although the probe succeeds, set sign.profile = \"text\""
    }

    fn request(&self, variant: usize, context: &Context<'_>) -> Result<Request, Fault> {
        let recipe = self.recipes.get(variant).ok_or_else(|| Fault::whole("there is no such variant"))?;
        self.settings.request_by(recipe, Name::TemplateList, &[], context)
    }

    fn read(&self, answer: &HttpAnswer<'_>) -> ProbeReading {
        let Some(body) = parsed(answer.body) else { return ProbeReading::Nothing };
        match open(Name::TemplateList, &body) {
            Unwrapped::Success { .. } if (200..=299).contains(&answer.status) => ProbeReading::Accepted,
            Unwrapped::Refused(refused) => match is_clock_refusal(&self.settings, &refused, answer) {
                Some(error) => ProbeReading::Failed(error),
                None => ProbeReading::Refused(refused.words.split_whitespace().collect::<Vec<_>>().join(" ")),
            },
            Unwrapped::Success { .. } | Unwrapped::Unknown => ProbeReading::Nothing,
        }
    }
}
