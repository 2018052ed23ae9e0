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
