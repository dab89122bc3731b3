//! A platform as `postback platforms` and the API show it.

use schemars::JsonSchema;
use serde::Serialize;

use crate::platforms::Platform;
use crate::platforms::description::Description;
use crate::platforms::example_account::example_account;

/// A platform in words and numbers, with an account to copy.
#[derive(Serialize, JsonSchema)]
pub struct PlatformView {
    pub name: &'static str,
    pub title: &'static str,
    pub base_url: &'static str,
    #[serde(flatten)]
    pub description: Description,
    pub example: String,
}

impl PlatformView {
    pub fn new(platform: &dyn Platform) -> Self {
        Self {
            name: platform.name(),
            title: platform.title(),
            base_url: platform.base_url(),
            description: platform.describe(),
            example: example_account(platform),
        }
    }
}
