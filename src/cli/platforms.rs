//! `postback platforms`: what there is to send to, what an account of it needs, and the examples of declared platforms.

mod markdown;

use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use super::{load, print, print_json, table};
use crate::exit::Exit;
use crate::inspect::platforms::PlatformView;
use crate::platforms::Platform;
use crate::platforms::declared::{self, DeclaredPlatform, ExampleResult};
use crate::platforms::description::Description;
use crate::platforms::list::{Platforms, shipped};
use crate::similar::nearest;
use crate::unreadable;

/// Arguments of `postback platforms`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    about = "Show the platforms, and run the examples of declared ones",
    after_help = "Examples:
  postback platforms list
  postback platforms show meta                       its keys, and an account to copy
  postback platforms --config postback.toml list     with those of platform_files
  postback platforms test my-platform.toml           the examples ([[test]]) inside a file
  postback platforms test                            those of every declared platform

Exit code: 0; 1 where an example does not hold; 2 where a file or the configuration is wrong."
)]
pub struct Args {
    /// The configuration whose platform_files are shown too
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// JSON instead of tables
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Command {
    /// Every platform: what it dedupes by, how much it takes, and what is not confirmed
    #[command(after_help = "Examples:\n  postback platforms list\n  postback platforms list --json")]
    List {
        /// The table of README.md
        #[arg(long)]
        markdown: bool,
    },
    /// One platform: its keys with their defaults, and an account to copy
    #[command(after_help = "Example:\n  postback platforms show meta")]
    Show {
        /// Its name in configuration
        name: String,
    },
    /// Run the examples inside declared platforms
    #[command(after_help = "Examples:\n  postback platforms test\n  postback platforms test my-platform.toml")]
    Test {
        /// A file; without it, every declared platform
        file: Option<PathBuf>,
    },
}

/// One example as JSON shows it.
#[derive(Serialize)]
struct Tested {
    platform: &'static str,
    example: usize,
    name: String,
    ok: bool,
    problems: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// 1 where an example does not hold, 2 where the platform is unknown or a file is wrong.
pub fn run(args: &Args) -> Result<(), Exit> {
    let platforms = || match &args.config {
        Some(file) => load(Some(file)).map(|config| config.platforms),
        None => Ok(Platforms::default()),
    };
    match &args.command {
        Command::List { markdown: true } => {
            let shown: Vec<PlatformView> = platforms()?.all().map(PlatformView::new).collect();
            print(&readme_table(&shown))
        }
        Command::List { markdown: false } => list(&platforms()?, args.json),
        Command::Show { name } => show(&platforms()?, name, args.json),
        Command::Test { file: Some(file) } => {
            let text = std::fs::read_to_string(file)
                .map_err(|error| Exit::usage(format!("{} {}", file.display(), unreadable::why(&error))))?;
            let platform =
                declared::load(&file.display().to_string(), &text).map_err(|found| Exit::usage(found.to_string()))?;
            test(&[platform], args.json)
        }
        Command::Test { file: None } => {
            let platforms = platforms()?;
            test(&shipped().cloned().chain(platforms.own().cloned()).collect::<Vec<_>>(), args.json)
        }
    }
}

fn list(platforms: &Platforms, json: bool) -> Result<(), Exit> {
    let shown: Vec<PlatformView> = platforms.all().map(PlatformView::new).collect();
    if json {
        return print_json(&shown);
    }
    let rows: Vec<Vec<String>> = shown
        .iter()
        .map(|platform| {
            let description = &platform.description;
            let switches: Vec<_> = description.unconfirmed.iter().map(|row| row.switch.as_str()).collect();
            let covered = switches.iter().filter(|switch| !switch.is_empty()).count();
            let unconfirmed = match switches.len() {
                0 => String::new(),
                all => format!("{all}, {covered} with a switch"),
            };
            vec![
                platform.name.to_owned(),
                platform.title.to_owned(),
                description.kinds.join(", "),
                description.dedupes_by.clone(),
                description.window.clone(),
                batch(description),
                description.limits.clone(),
                unconfirmed,
            ]
        })
        .collect();
    let headings = ["NAME", "TITLE", "KINDS", "DEDUPES BY", "WINDOW", "BATCH", "LIMITS", "UNCONFIRMED"];
    print(&table::render(&headings, &rows))
}

/// The table that README.md has.
fn readme_table(platforms: &[PlatformView]) -> String {
    let row = |platform: &PlatformView| {
        let description = &platform.description;
        let unconfirmed = description.unconfirmed.iter().map(|row| match row.switch.as_str() {
            "" => row.what.clone(),
            switch => format!("{} (`{switch}`)", row.what),
        });
        vec![
            format!("`{}`", platform.name),
            platform.title.to_owned(),
            description.kinds.join(", "),
            description.dedupes_by.clone(),
            description.window.clone(),
            description.repeats.clone(),
            batch(description),
            description.limits.clone(),
            unconfirmed.collect::<Vec<_>>().join("; "),
        ]
    };
    let headings = [
        "platform",
        "product",
        "kinds",
        "suppresses repeats by",
        "window",
        "a repeat costs",
        "per request",
        "limits",
        "not confirmed (switch)",
    ];
    markdown::table(&headings, &platforms.iter().map(row).collect::<Vec<_>>())
}

fn batch(description: &Description) -> String {
    match (description.batch_items, description.batch_bytes) {
        (0 | 1, _) => "1".to_owned(),
        (items, None) => items.to_string(),
        (items, Some(bytes)) => format!("{items}, {bytes} bytes"),
    }
}

fn show(platforms: &Platforms, name: &str, json: bool) -> Result<(), Exit> {
    let Some(platform) = platforms.find(name) else {
        let names: Vec<&str> = platforms.all().map(Platform::name).collect();
        let hint = match nearest(name, names.iter().copied()) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("there are {}", names.join(", ")),
        };
        return Err(Exit::usage(format!("no platform is called {name}; {hint}")));
    };
    let shown = PlatformView::new(platform);
    if json { print_json(&shown) } else { print(&text(&shown)) }
}

fn text(shown: &PlatformView) -> String {
    let description = &shown.description;
    let mut text = format!("{} ({})\n\n", shown.title, shown.name);
    let batch = batch(description);
    let rows = [
        ("goes to", shown.base_url),
        ("kinds", &description.kinds.join(", ")),
        ("calls", &description.calls.join(", ")),
        ("dedupes by", &description.dedupes_by),
        ("window", &description.window),
        ("a repeat", &description.repeats),
        ("per request", &batch),
        ("limits", &description.limits),
        ("rules from", &description.docs),
    ];
    for (what, value) in rows.iter().filter(|(_, value)| !value.is_empty()) {
        text.push_str(&format!("{what:<12}{value}\n"));
    }
    if !description.unconfirmed.is_empty() {
        text.push_str("\nnot confirmed\n");
        for row in &description.unconfirmed {
            let switch = if row.switch.is_empty() { "no switch" } else { &row.switch };
            text.push_str(&format!("- {} ({switch})\n", row.what));
        }
    }
    text.push_str("\nan account\n\n");
    text.push_str(&shown.example);
    text
}

fn test(platforms: &[Arc<DeclaredPlatform>], json: bool) -> Result<(), Exit> {
    let tested: Vec<Tested> = platforms
        .iter()
        .flat_map(|platform| {
            platform.examples().into_iter().map(|ExampleResult { number, name, problems }| Tested {
                platform: platform.name(),
                example: number,
                name,
                ok: problems.is_empty(),
                problems,
            })
        })
        .collect();
    for platform in platforms {
        // Untested rules are no failure; whoever writes the file should know of them.
        platform.unshown().iter().for_each(|what| eprintln!("warning: {}: {what}", platform.name()));
    }
    let failed: Vec<String> = tested
        .iter()
        .filter(|tested| !tested.ok)
        .map(|tested| format!("{} example {}: {}", tested.platform, tested.example, tested.problems.join("; ")))
        .collect();
    if json {
        print_json(&tested)?;
    } else {
        print(&format!("{} of {} examples hold\n", tested.len() - failed.len(), tested.len()))?;
    }
    if failed.is_empty() { Ok(()) } else { Err(Exit::failed(failed.join("\n"))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platforms::list;

    #[test]
    fn the_table_in_the_readme_is_the_one_that_the_command_prints() {
        let real = |platform: &&'static dyn Platform| platform.name() != crate::stub::PLATFORM;
        let shown: Vec<PlatformView> = list::all().filter(real).map(PlatformView::new).collect();
        let table = readme_table(&shown);
        assert!(shown.len() >= 11, "{}", shown.len());
        assert!(
            include_str!("../../README.md").contains(&table),
            "README.md has another table; this is `postback platforms list --markdown`:\n{table}"
        );
    }

    #[test]
    fn an_account_to_copy_takes_its_secrets_from_the_environment() {
        let platforms = Platforms::default();
        for (name, variable) in
            [("meta", "${META_TOKEN}"), ("tiktok", "${TIKTOK_TOKEN}"), ("webhook", "${WEBHOOK_SECRET}")]
        {
            let example = PlatformView::new(platforms.find(name).unwrap()).example;
            assert!(example.contains(variable), "{example}");
            assert!(example.parse::<toml::Table>().is_ok(), "{example}");
        }
        let example = PlatformView::new(platforms.find("qihoo360").unwrap()).example;
        assert!(example.contains("secret = \"${QIHOO360_SECRET}\""), "{example}");
    }

    #[test]
    fn every_platform_says_what_it_takes() {
        for platform in Platforms::default().all().filter(|platform| platform.name() != crate::stub::PLATFORM) {
            let shown = PlatformView::new(platform);
            let text = text(&shown);
            assert!(text.contains(&format!("({})", shown.name)) && text.contains("[accounts.my-"), "{text}");
            assert!(shown.description.batch_items >= 1, "{text}");
        }
    }

    #[test]
    fn an_unknown_name_is_told_with_the_nearest_one() {
        let exit = show(&Platforms::default(), "tiktock", false).unwrap_err();
        assert!(exit.code == 2 && exit.text.contains("did you mean tiktok?"), "{}", exit.text);
    }
}
