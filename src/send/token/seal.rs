//! Encryption of stored tokens, authenticated, with the key of `redis.token_key` (ChaCha20-Poly1305).

use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};

use crate::secret::SecretString;

/// The length of the key in bytes.
const KEY_LENGTH: usize = 32;

/// Encrypts and decrypts with one key.
pub struct Seal {
    key: LessSafeKey,
    random: SystemRandom,
}

/// Says why `redis.token_key` is not a key. The text is safe.
///
/// # Errors
/// What is wrong with it.
pub fn check_key(text: &str) -> Result<(), &'static str> {
    key_bytes(text).map(drop)
}

fn key_bytes(text: &str) -> Result<Vec<u8>, &'static str> {
    STANDARD
        .decode(text)
        .ok()
        .filter(|bytes| bytes.len() == KEY_LENGTH)
        .ok_or("has to be 32 random bytes in base64, e.g. the output of `openssl rand -base64 32`")
}

impl Seal {
    /// Uses the configured key.
    ///
    /// # Errors
    /// It is not a key. The text is safe.
    pub fn new(key: &SecretString) -> Result<Self, &'static str> {
        let key = UnboundKey::new(&CHACHA20_POLY1305, &key_bytes(key.expose())?).map_err(|_| "cannot be used")?;
        Ok(Self { key: LessSafeKey::new(key), random: SystemRandom::new() })
    }

    /// Uses the one random key of this process, for a store that ends with the process: both lanes of an account read
    /// the same record. `None`: the system has no random bytes.
    pub fn of_this_process() -> Option<Self> {
        static KEY: OnceLock<[u8; KEY_LENGTH]> = OnceLock::new();
        let random = SystemRandom::new();
        let mut key = [0; KEY_LENGTH];
        random.fill(&mut key).ok()?;
        let key = UnboundKey::new(&CHACHA20_POLY1305, KEY.get_or_init(|| key)).ok()?;
        Some(Self { key: LessSafeKey::new(key), random })
    }

    /// Encrypts to base64. `bound` is not encrypted, but decrypting needs exactly the same text. `None`: the system has
    /// no random bytes.
    pub fn seal(&self, bound: &str, mut plain: Vec<u8>) -> Option<String> {
        // A random nonce is safe for the few values that are written with one key.
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).ok()?;
        let aad = Aad::from(bound.as_bytes());
        self.key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut plain).ok()?;
        Some(STANDARD.encode([&nonce[..], &plain].concat()))
    }

    /// Decrypts. `None`: the key or the bound text is different, or the value was changed.
    pub fn open(&self, bound: &str, sealed: &str) -> Option<Vec<u8>> {
        let bytes = STANDARD.decode(sealed).ok()?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN)?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let plain = self.key.open_in_place(nonce, Aad::from(bound.as_bytes()), &mut sealed).ok()?;
        Some(plain.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(byte: u8) -> Seal {
        Seal::new(&SecretString::new(STANDARD.encode([byte; KEY_LENGTH]))).unwrap()
    }

    #[test]
    fn what_was_sealed_opens_with_the_same_key_and_the_same_bound_text_alone() {
        let sealed = seal(1).seal("acme", b"refresh-me".to_vec()).unwrap();
        assert_eq!(seal(1).open("acme", &sealed).as_deref(), Some(&b"refresh-me"[..]));
        assert_eq!(seal(2).open("acme", &sealed), None);
        assert_eq!(seal(1).open("other", &sealed), None);
        let mut changed = STANDARD.decode(&sealed).unwrap();
        *changed.last_mut().unwrap() ^= 1;
        assert_eq!(seal(1).open("acme", &STANDARD.encode(changed)), None);
        for nonsense in ["", "AAAA", "no base64!"] {
            assert_eq!(seal(1).open("acme", nonsense), None);
        }
    }

    #[test]
    fn all_parts_of_a_process_have_one_key() {
        let (one, other) = (Seal::of_this_process().unwrap(), Seal::of_this_process().unwrap());
        let sealed = one.seal("acme", b"x".to_vec()).unwrap();
        assert_eq!(other.open("acme", &sealed).as_deref(), Some(&b"x"[..]));
        assert_eq!(seal(1).open("acme", &sealed), None);
    }

    #[test]
    fn the_same_text_never_looks_the_same_twice() {
        let seal = seal(1);
        assert_ne!(seal.seal("acme", b"x".to_vec()), seal.seal("acme", b"x".to_vec()));
    }

    #[test]
    fn a_key_that_is_none_is_refused_without_repeating_it() {
        for text in ["", "short", &STANDARD.encode([7; 31]), &STANDARD.encode([7; 33]), "%%%%"] {
            let why = Seal::new(&SecretString::new(text)).err().unwrap();
            assert!(why.contains("32 random bytes") && (text.is_empty() || !why.contains(text)), "{why}");
        }
        assert_eq!(check_key(&STANDARD.encode([7; 32])), Ok(()));
    }
}
