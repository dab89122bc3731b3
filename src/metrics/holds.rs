//! Why the worker sends nothing although its accounts could.

/// A cause that lies in the worker's own parts, as the label `cause` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Redis does not answer, or it cannot be relied on.
    Redis,
    /// Redis has lost its claims, and an operator has to say that sending may go on.
    Dedupe,
    /// No broker answers, or none confirms a commit.
    Kafka,
    /// This machine's clock is too far off to judge any event's time.
    Clock,
}

impl Hold {
    /// Every cause, in the order of the contract.
    pub const ALL: [Hold; 4] = [Hold::Redis, Hold::Dedupe, Hold::Kafka, Hold::Clock];

    /// The value of the label `cause`.
    pub fn as_str(self) -> &'static str {
        match self {
            Hold::Redis => "redis",
            Hold::Dedupe => "dedupe",
            Hold::Kafka => "kafka",
            Hold::Clock => "clock",
        }
    }
}
