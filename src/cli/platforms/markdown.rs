//! The platforms as a table of Markdown. README.md has it, and a test compares the two.

use super::{Shown, batch};

/// One row per platform.
pub(super) fn table(platforms: &[Shown]) -> String {
    let mut text = String::from(
        "| platform | product | kinds | suppresses repeats by | window | a repeat costs | per request | limits | not confirmed (switch) |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    for platform in platforms {
        let description = &platform.description;
        let unconfirmed = description.unconfirmed.iter().map(|row| match row.switch.as_str() {
            "" => row.what.clone(),
            switch => format!("{} (`{switch}`)", row.what),
        });
        let cells = [
            format!("`{}`", platform.name),
            platform.title.to_owned(),
            description.kinds.join(", "),
            description.dedupes_by.clone(),
            description.window.clone(),
            description.repeats.clone(),
            batch(description),
            description.limits.clone(),
            unconfirmed.collect::<Vec<_>>().join("; "),
        ];
        let cells = cells.map(|cell| cell.replace('|', "\\|"));
        text.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platforms::Platform;
    use crate::platforms::list;

    #[test]
    fn the_table_in_the_readme_is_the_one_that_the_command_prints() {
        let real = |platform: &&'static dyn Platform| platform.name() != crate::stub::PLATFORM;
        let shown: Vec<Shown> = list::all().filter(real).map(Shown::new).collect();
        let table = table(&shown);
        assert!(shown.len() >= 9, "{}", shown.len());
        assert!(
            include_str!("../../../README.md").contains(&table),
            "README.md has another table; this is `postback platforms list --markdown`:\n{table}"
        );
    }
}
