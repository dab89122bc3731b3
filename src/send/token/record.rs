//! An account's tokens as Redis keeps them, and their text form: `t1|generation|refusal|seeds|sealed`.
//!
//! The tokens are encrypted. The text before them is bound to them and to the account, so that no value can be moved to
//! another account. The generation increases by one with each new pair. A writer states the generation that it
//! replaces, so a process that was stopped in between never overwrites a newer pair. The seeds are fingerprints of the
//! configured values that were used so far. They are readable even if the key has changed.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::platforms::tokens::{Grant, Issued, Life, Seed};
use crate::secret::SecretString;
use crate::send::token::seal::Seal;

const VERSION: &str = "t1";
/// How many seeds are remembered: more than the number of different configurations that replicas have at the same time.
const SEEDS: usize = 8;

/// Tokens, and when they end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenSet {
    /// The token that requests carry. `None`: it has to be requested first.
    pub access: Option<SecretString>,
    /// The token that the next pair is requested with.
    pub refresh: Option<SecretString>,
    /// An authorisation code that is not used yet.
    pub code: Option<SecretString>,
    pub life: Life,
}

/// A refusal of the tokens by the platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// When it happened, epoch ms.
    pub at_ms: i64,
    /// Whether the access token is refused as well, or only the refresh token.
    pub access: bool,
}

/// What is kept of one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRecord {
    /// It increases by one with each pair.
    pub generation: u64,
    /// `None`: nothing was refused.
    pub refusal: Option<Refusal>,
    /// Fingerprints of the seeds that were used, the newest last.
    pub seeds: Vec<String>,
    pub tokens: TokenSet,
}

/// The value found in Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Absent,
    Record(TokenRecord),
    /// A record whose tokens the key cannot decrypt.
    Locked {
        generation: u64,
        seeds: Vec<String>,
    },
    /// The value is no record of this version.
    Unknown,
}

impl Found {
    /// The generation of the value.
    pub fn generation(&self) -> Option<u64> {
        match self {
            Found::Record(record) => Some(record.generation),
            Found::Locked { generation, .. } => Some(*generation),
            Found::Absent | Found::Unknown => None,
        }
    }
}

/// The part that is encrypted.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Plain {
    #[serde(skip_serializing_if = "Option::is_none")]
    access: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    issued_ms: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_ends_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_ends_ms: Option<i64>,
}

impl TokenSet {
    pub fn of_seed(seed: &Seed) -> Self {
        Self {
            access: seed.access.clone(),
            refresh: seed.refresh.clone(),
            code: seed.code.clone(),
            life: Life::default(),
        }
    }

    /// The tokens that the platform issued at `now_ms` in exchange for these.
    pub fn next(&self, issued: Issued, now_ms: i64) -> Self {
        // An end in the past would cause refreshes without end, so such a pair counts as valid until it is refused.
        let ahead = |end: Option<i64>| end.filter(|end| *end > now_ms);
        let kept_end = issued.refresh.is_none().then_some(self.life.refresh_ends_ms).flatten();
        Self {
            access: Some(issued.access),
            refresh: issued.refresh.or_else(|| self.refresh.clone()),
            code: None,
            life: Life {
                issued_ms: now_ms,
                access_ends_ms: ahead(issued.access_ends_ms),
                refresh_ends_ms: ahead(issued.refresh_ends_ms.or(kept_end)),
            },
        }
    }

    /// What a new pair is requested with. `None`: an operator has to authorise the account again.
    pub fn grant(&self, now_ms: i64) -> Option<Grant<'_>> {
        let ended = self.life.refresh_ends_ms.is_some_and(|end| end <= now_ms);
        let refresh = self.refresh.as_ref().filter(|_| !ended).map(Grant::Refresh);
        refresh.or_else(|| self.code.as_ref().map(Grant::Code))
    }
}

impl TokenRecord {
    /// The access token, if it may be used at `now_ms`.
    pub fn usable(&self, now_ms: i64) -> Option<&SecretString> {
        let refused = self.refusal.is_some_and(|refusal| refusal.access);
        let ended = self.tokens.life.access_ends_ms.is_some_and(|end| end <= now_ms);
        self.tokens.access.as_ref().filter(|_| !refused && !ended)
    }

    /// The beginning of the stored text, up to the generation.
    pub fn beginning(generation: u64) -> String {
        format!("{VERSION}|{generation}|")
    }

    /// The stored text. `None`: the tokens cannot be encrypted.
    pub fn write(&self, account: &str, seal: &Seal) -> Option<String> {
        let refusal = match self.refusal {
            None => "-".to_owned(),
            Some(Refusal { at_ms, access }) => format!("{}{at_ms}", if access { 'a' } else { 'r' }),
        };
        let header = format!("{}{refusal}|{}", Self::beginning(self.generation), self.seeds.join(","));
        let text = |secret: &Option<SecretString>| secret.as_ref().map(|s| s.expose().to_owned());
        let (tokens, life) = (&self.tokens, &self.tokens.life);
        let plain = Plain {
            access: text(&tokens.access),
            refresh: text(&tokens.refresh),
            code: text(&tokens.code),
            issued_ms: life.issued_ms,
            access_ends_ms: life.access_ends_ms,
            refresh_ends_ms: life.refresh_ends_ms,
        };
        let sealed = seal.seal(&bound(account, &header), serde_json::to_vec(&plain).ok()?)?;
        Some(format!("{header}|{sealed}"))
    }

    /// Adds a seed that is used now.
    pub fn add_seed(seeds: &[String], seed: &str) -> Vec<String> {
        let older = seeds.iter().filter(|known| *known != seed);
        let mut all: Vec<String> = older.cloned().chain([seed.to_owned()]).collect();
        all.drain(..all.len().saturating_sub(SEEDS));
        all
    }
}

/// Reads a stored text.
pub fn read(text: &str, account: &str, seal: &Seal) -> Found {
    let Some((header, sealed)) = text.rsplit_once('|') else { return Found::Unknown };
    let mut parts = header.split('|');
    let (version, generation, refusal, seeds) = (parts.next(), parts.next(), parts.next(), parts.next());
    let generation = generation.and_then(|text| text.parse().ok());
    let (Some(VERSION), Some(generation), Some(refusal), Some(seeds), None) =
        (version, generation, refusal.and_then(read_refusal), seeds, parts.next())
    else {
        return Found::Unknown;
    };
    let seeds: Vec<String> = seeds.split(',').filter(|seed| !seed.is_empty()).map(str::to_owned).collect();
    let opened = seal.open(&bound(account, header), sealed);
    let Some(plain) = opened.and_then(|plain| serde_json::from_slice::<Plain>(&plain).ok()) else {
        return Found::Locked { generation, seeds };
    };
    let life = Life {
        issued_ms: plain.issued_ms,
        access_ends_ms: plain.access_ends_ms,
        refresh_ends_ms: plain.refresh_ends_ms,
    };
    let secret = |text: Option<String>| text.map(SecretString::new);
    let tokens =
        TokenSet { access: secret(plain.access), refresh: secret(plain.refresh), code: secret(plain.code), life };
    Found::Record(TokenRecord { generation, refusal, seeds, tokens })
}

fn read_refusal(text: &str) -> Option<Option<Refusal>> {
    if text == "-" {
        return Some(None);
    }
    let access = match text.chars().next()? {
        'a' => true,
        'r' => false,
        _ => return None,
    };
    Some(Some(Refusal { at_ms: text[1..].parse().ok()?, access }))
}

fn bound(account: &str, header: &str) -> String {
    format!("{account}|{header}")
}

/// The fingerprint by which a seed is recognised: 128 bits over the account's name and the three values, each with its
/// length.
pub fn fingerprint(account: &str, seed: &Seed) -> String {
    let mut hash = Sha256::new();
    let parts = [&seed.access, &seed.refresh, &seed.code].map(|s| s.as_ref().map_or("", SecretString::expose));
    for part in [account].iter().chain(&parts) {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;

    use super::*;

    fn seal(byte: u8) -> Seal {
        Seal::new(&SecretString::new(base64::engine::general_purpose::STANDARD.encode([byte; 32]))).unwrap()
    }

    fn secret(text: &str) -> Option<SecretString> {
        Some(SecretString::new(text))
    }

    fn record(refusal: Option<Refusal>) -> TokenRecord {
        let life = Life { issued_ms: 5, access_ends_ms: Some(7), refresh_ends_ms: None };
        let tokens = TokenSet { access: secret("acc|ess"), refresh: secret("refresh"), code: None, life };
        TokenRecord { generation: 3, refusal, seeds: vec!["aa".into(), "bb".into()], tokens }
    }

    #[test]
    fn a_record_that_was_written_can_be_read_and_shows_no_token() {
        for refusal in [None, Some(Refusal { at_ms: 12, access: true }), Some(Refusal { at_ms: 12, access: false })] {
            let record = record(refusal);
            let text = record.write("acme", &seal(1)).unwrap();
            assert!(text.starts_with("t1|3|") && text.starts_with(&TokenRecord::beginning(3)), "{text}");
            assert!(!text.contains("acc") && !text.contains("refresh"), "{text}");
            assert_eq!(read(&text, "acme", &seal(1)), Found::Record(record.clone()));
            let shown = format!("{record:?}");
            assert!(!shown.contains("acc|ess") && !shown.contains("\"refresh\""), "{shown}");
        }
    }

    #[test]
    fn another_key_another_account_or_another_header_opens_nothing_and_still_tells_generation_and_seeds() {
        let text = record(None).write("acme", &seal(1)).unwrap();
        let locked = |generation| Found::Locked { generation, seeds: vec!["aa".into(), "bb".into()] };
        assert_eq!(read(&text, "acme", &seal(2)), locked(3));
        assert_eq!(read(&text, "other", &seal(1)), locked(3));
        assert_eq!(read(&text.replace("t1|3|", "t1|4|"), "acme", &seal(1)), locked(4));
    }

    #[test]
    fn what_is_no_record_of_this_version_is_unknown() {
        for text in
            ["", "x", "t2|3|-|aa|AAAA", "t1|x|-|aa|AAAA", "t1|3|z9|aa|AAAA", "t1|3|-|aa|more|AAAA", "t1|3|é|aa|A"]
        {
            assert_eq!(read(text, "acme", &seal(1)), Found::Unknown, "{text}");
        }
    }

    #[test]
    fn a_pair_without_a_refresh_token_keeps_the_old_one_and_its_end() {
        let old = TokenSet {
            refresh: secret("r1"),
            code: secret("once"),
            life: Life { issued_ms: 0, access_ends_ms: Some(50), refresh_ends_ms: Some(900) },
            ..TokenSet::default()
        };
        let issued = |refresh| Issued {
            access: SecretString::new("a2"),
            refresh,
            access_ends_ms: Some(200),
            refresh_ends_ms: None,
        };
        let kept = old.next(issued(None), 100);
        assert_eq!((kept.refresh, kept.code), (secret("r1"), None));
        assert_eq!(kept.life, Life { issued_ms: 100, access_ends_ms: Some(200), refresh_ends_ms: Some(900) });
        let new = old.next(issued(secret("r2")), 100);
        assert_eq!((new.refresh, new.life.refresh_ends_ms), (secret("r2"), None));
    }

    #[test]
    fn an_end_in_the_past_is_no_end() {
        let issued = Issued {
            access: SecretString::new("a"),
            refresh: None,
            access_ends_ms: Some(100),
            refresh_ends_ms: Some(3),
        };
        let life = TokenSet::default().next(issued, 100).life;
        assert_eq!((life.access_ends_ms, life.refresh_ends_ms), (None, None));
    }

    #[test]
    fn a_refresh_token_is_asked_with_until_its_end_and_a_code_where_there_is_none() {
        let mut tokens = TokenSet { refresh: secret("r"), code: secret("c"), ..TokenSet::default() };
        assert!(matches!(tokens.grant(9), Some(Grant::Refresh(_))));
        tokens.life.refresh_ends_ms = Some(10);
        assert!(matches!(tokens.grant(9), Some(Grant::Refresh(_))));
        assert!(matches!(tokens.grant(10), Some(Grant::Code(_))));
        tokens.code = None;
        assert!(tokens.grant(10).is_none());
    }

    #[test]
    fn an_access_token_is_usable_until_it_ends_or_is_refused() {
        let refused = |access| Some(Refusal { at_ms: 1, access });
        assert!(record(None).usable(6).is_some() && record(refused(false)).usable(6).is_some());
        assert!(record(None).usable(7).is_none() && record(refused(true)).usable(6).is_none());
    }

    #[test]
    fn seeds_are_told_apart_and_the_last_eight_are_remembered() {
        let seed = |access, refresh| Seed { access, refresh, code: None };
        let all =
            [seed(secret("ab"), None), seed(None, secret("ab")), seed(secret("a"), secret("b")), seed(None, None)];
        let mut marks: Vec<String> = all.iter().map(|seed| fingerprint("acme", seed)).collect();
        marks.push(fingerprint("other", &all[0]));
        assert_eq!(marks[0], fingerprint("acme", &all[0]));
        marks.sort();
        marks.dedup();
        assert_eq!(marks.len(), 5);
        let mut seeds = Vec::new();
        for n in 0..10 {
            seeds = TokenRecord::add_seed(&seeds, &n.to_string());
        }
        assert_eq!(seeds, ["2", "3", "4", "5", "6", "7", "8", "9"]);
        assert_eq!(TokenRecord::add_seed(&seeds, "4").last().map(String::as_str), Some("4"));
    }
}
