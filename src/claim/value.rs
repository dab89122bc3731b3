//! The values of a key in Redis: claimed, unknown, done (pure; `core.md` section 3, "Values").

use rand::Rng;

const FINGERPRINT_BITS: u32 = 40;
const RESENDS_BITS: u32 = 4;
const TOKEN_BITS: u32 = 9;
const ORIGIN_BITS: u32 = 10;
/// The largest count a `done` can hold.
pub const MAX_DONE_RESENDS: u32 = (1 << RESENDS_BITS) - 1;

/// Ten bits by which a `done` tells two lineages apart. They use FNV-1a, so that every version computes the same.
pub(crate) fn origin_tag(origin: &str) -> u64 {
    let hash = origin.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    (hash ^ (hash >> 32)) & ((1 << ORIGIN_BITS) - 1)
}

/// The token of a claim: random, new for each claim, never in a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token(pub(super) u64);

impl Token {
    pub fn random() -> Self {
        Self(rand::rng().random())
    }

    /// The first bytes of the value of every claim with this token.
    pub fn holder(self) -> String {
        format!("c|{self}|")
    }

    pub(super) fn tag(self) -> u64 {
        self.0 & ((1 << TOKEN_BITS) - 1)
    }
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A confirmed key: one integer, which Redis stores without a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done(u64);

impl Done {
    pub(super) fn of(fingerprint: u64, own: u32, token: Token, origin: &str) -> Self {
        let resends = u64::from(own.min(MAX_DONE_RESENDS));
        Self(
            (((fingerprint << RESENDS_BITS | resends) << TOKEN_BITS | token.tag()) << ORIGIN_BITS) | origin_tag(origin),
        )
    }

    pub fn to_int(self) -> u64 {
        self.0
    }

    pub(crate) fn fingerprint(self) -> u64 {
        self.0 >> (RESENDS_BITS + TOKEN_BITS + ORIGIN_BITS)
    }

    /// The number of declared re-sends, capped at [`MAX_DONE_RESENDS`].
    pub fn resends(self) -> u32 {
        (self.0 >> (TOKEN_BITS + ORIGIN_BITS)) as u32 & MAX_DONE_RESENDS
    }

    /// Whether it confirms the claim with this token and origin.
    pub fn is_of_claim(self, token: &str, origin: &str) -> bool {
        u64::from_str_radix(token, 16).is_ok_and(|token| self.is_of_token(Token(token))) && self.is_of_origin(origin)
    }

    /// Whether it is of this lineage.
    pub fn is_of_origin(self, origin: &str) -> bool {
        self.origin_tag() == origin_tag(origin)
    }

    /// The ten bits of its lineage, to be shown.
    pub fn origin_tag(self) -> u64 {
        self.0 & ((1 << ORIGIN_BITS) - 1)
    }

    pub(crate) fn is_of_token(self, token: Token) -> bool {
        (self.0 >> ORIGIN_BITS) & ((1 << TOKEN_BITS) - 1) == token.tag()
    }
}

/// A value in Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A process is sending it, or died while it was sending.
    Claimed {
        /// The token of the claim.
        token: String,
        origin: String,
        /// Bits over order, amount, refund and currency.
        fingerprint: u64,
        /// The number of declared re-sends once this claim's send has gone out.
        resends: u32,
    },
    /// It was sent and no answer came.
    Unknown {
        origin: String,
        /// The same as in a claim.
        fingerprint: u64,
        /// The number of declared re-sends so far.
        resends: u32,
    },
    Done(Done),
    /// The worker did not write it. It is judged like an `unknown` of another lineage: nothing is sent and nothing
    /// overwritten.
    Foreign,
}

impl Value {
    pub fn parse(bytes: &[u8]) -> Self {
        Self::try_parse(bytes).unwrap_or(Value::Foreign)
    }

    fn try_parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let fingerprint = |text: &str| u64::from_str_radix(text, 16).ok().filter(|f| f >> FINGERPRINT_BITS == 0);
        match text.as_bytes().first()? {
            b'c' => {
                let mut parts = text.strip_prefix("c|")?.splitn(2, '|');
                let token = parts.next()?.to_owned();
                let mut rest = parts.next()?.rsplitn(3, '|');
                let resends = rest.next()?.parse().ok()?;
                let fingerprint = fingerprint(rest.next()?)?;
                Some(Value::Claimed { token, origin: rest.next()?.to_owned(), fingerprint, resends })
            }
            b'u' => {
                let mut rest = text.strip_prefix("u|")?.rsplitn(3, '|');
                let resends = rest.next()?.parse().ok()?;
                let fingerprint = fingerprint(rest.next()?)?;
                Some(Value::Unknown { origin: rest.next()?.to_owned(), fingerprint, resends })
            }
            _ => text.parse().ok().filter(|n: &u64| n >> 63 == 0).map(|n| Value::Done(Done(n))),
        }
    }

    /// The number of declared re-sends.
    pub fn resends(&self) -> u32 {
        match self {
            Value::Claimed { resends, .. } | Value::Unknown { resends, .. } => *resends,
            Value::Done(done) => done.resends(),
            Value::Foreign => 0,
        }
    }
}
