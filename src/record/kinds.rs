//! The machines of this crate that can be recorded.

#[cfg(feature = "cotp")]
mod cotp {
    use crate::Seed;
    use crate::cotp::{Config, ConfigError, Connection};
    use crate::record::Recorded;

    impl Recorded for Connection {
        const KIND: &'static str = "cotp";
        /// The port of TPKT (RFC 1006 section 4).
        const PORT: u16 = 102;
        type Config = Config;
        type Refusal = ConfigError;

        fn make(config: Config, seed: Seed) -> Result<Self, ConfigError> {
            Self::new(config, &seed)
        }
    }
}

#[cfg(feature = "ltp")]
mod ltp {
    use crate::Seed;
    use crate::ltp::{Config, ConfigError, Engine};
    use crate::record::{Place, Recorded};

    impl<A: Place> Recorded for Engine<A> {
        const KIND: &'static str = "ltp";
        /// The port of LTP over UDP (RFC 7122 section 5).
        const PORT: u16 = 1113;
        type Config = Config;
        type Refusal = ConfigError;

        fn make(config: Config, seed: Seed) -> Result<Self, ConfigError> {
            Self::new(config, seed)
        }
    }
}
