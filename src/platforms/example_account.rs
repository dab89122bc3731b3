//! An account to copy: what `postback platforms show` prints.

use super::Platform;

/// An account of the platform as a configuration states it; secrets come from the environment.
pub fn example_account(platform: &dyn Platform) -> String {
    let name = platform.name();
    let upper = name.to_uppercase();
    let mut text = format!("[accounts.my-{}]\nplatform = \"{name}\"\n", name.replace('_', "-"));
    if platform.base_url().is_empty() {
        text.push_str("base_url = \"https://receiver.example\"\n");
    }
    if let Some(shape) = platform.credential() {
        let variable = |half: &str| format!("${{{upper}_{}}}", half.to_uppercase());
        let (public, secret) = (shape.public, shape.secret);
        text.push_str(&format!(
            "secrets = [{{ id = \"a\", {public} = \"{}\", {secret} = \"{}\" }}]\n",
            variable(public),
            variable(secret)
        ));
    }
    for key in platform.describe().keys {
        let last = key.name.rsplit(['_', '.']).next().unwrap_or_default().to_uppercase();
        let value = match (&key.default, key.values.first()) {
            _ if key.secret => format!("\"${{{upper}_{last}}}\""),
            (Some(default), _) => default.clone(),
            (None, Some(first)) => first.clone(),
            (None, None) => "\"…\"".to_owned(),
        };
        let mark = if key.required || key.secret { "" } else { "# " };
        let note = match &key.values[..] {
            [] => String::new(),
            values => format!("  # {}", values.join(" | ")),
        };
        text.push_str(&format!("{mark}{} = {value}{note}\n", key.name));
    }
    text
}
