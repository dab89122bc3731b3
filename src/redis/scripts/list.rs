//! Makes an enum and its texts of the list of scripts.

macro_rules! scripts {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)+) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Script {
            $($(#[$doc])* $name,)+
        }

        impl Script {
            pub const ALL: &[Script] = &[$(Script::$name,)+];

            pub const fn text(self) -> &'static str {
                match self {
                    $(Script::$name => $text,)+
                }
            }
        }
    };
}
