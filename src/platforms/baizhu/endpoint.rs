//! The endpoints of 百助, and which event goes to which.

/// The three dimensions, each with a URL of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Install,
    Register,
    Back,
}

impl Endpoint {
    pub(super) const ALL: [Endpoint; 3] = [Endpoint::Install, Endpoint::Register, Endpoint::Back];

    pub(super) fn native(self) -> &'static str {
        match self {
            Endpoint::Install => "install",
            Endpoint::Register => "register",
            Endpoint::Back => "back",
        }
    }

    pub(super) fn path(self) -> &'static str {
        match self {
            Endpoint::Install => "/data/install",
            Endpoint::Register => "/data/register",
            Endpoint::Back => "/data/back",
        }
    }

    pub(super) fn of(native: &str) -> Option<Endpoint> {
        Endpoint::ALL.into_iter().find(|e| e.native() == native)
    }

    pub(super) fn of_canonical(event_type: &str) -> Option<Endpoint> {
        match event_type {
            "install" => Some(Endpoint::Install),
            "register" => Some(Endpoint::Register),
            "effective_user" => Some(Endpoint::Back),
            _ => None,
        }
    }
}
