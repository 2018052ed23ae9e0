//! The machines of this crate that can be recorded.

/// Implements [`Recorded`](super::Recorded) for a machine that has no snapshot.
#[cfg(any(feature = "cotp", feature = "csp", feature = "stun"))]
macro_rules! recorded {
    ($machine:ty, $config:ty, $error:ty, $kind:literal $(, $port:literal)?) => {
        impl super::Recorded for $machine {
            const KIND: &'static str = $kind;
            $(const PORT: u16 = $port;)?
            type Config = $config;
            type ConfigError = $error;
            type Snapshot = super::NoSnapshot;
            type RestoreError = $error;

            fn make(config: $config, seed: crate::Seed) -> Result<Self, $error> {
                Self::new(config, &seed)
            }

            fn restore(
                _: $config,
                _: crate::Seed,
                snapshot: super::NoSnapshot,
                _: crate::Instant,
            ) -> Result<Self, $error> {
                match snapshot {}
            }
        }
    };
}

// The port of TPKT (RFC 1006 section 4).
#[cfg(feature = "cotp")]
recorded!(
    crate::cotp::Connection,
    crate::cotp::Config,
    crate::cotp::ConfigError,
    "cotp",
    102
);
#[cfg(feature = "csp")]
recorded!(
    crate::csp::Node,
    crate::csp::Config,
    crate::csp::ConfigError,
    "csp"
);
#[cfg(feature = "dtp")]
recorded!(
    crate::dtp::Node,
    crate::dtp::Config,
    crate::dtp::ConfigError,
    "dtp"
);

// The port of STUN over UDP and TCP (RFC 8489 section 8.1).
#[cfg(feature = "stun")]
recorded!(
    crate::stun::Client,
    crate::stun::Config,
    crate::stun::ConfigError,
    "stun",
    3478
);

#[cfg(feature = "ltp")]
mod ltp {
    use crate::ltp::{Age, Config, ConfigError, Engine, RestoreError, Snapshot};
    use crate::record::{RecordAddr, Recorded};
    use crate::{Instant, Seed};

    impl<A: RecordAddr> Recorded for Engine<A> {
        const KIND: &'static str = "ltp";
        /// The port of LTP over UDP (RFC 7122 section 5).
        const PORT: u16 = 1113;
        type Config = Config;
        type ConfigError = ConfigError;
        type Snapshot = (Snapshot<A>, Age);
        type RestoreError = RestoreError;

        fn make(config: Config, seed: Seed) -> Result<Self, ConfigError> {
            Self::new(config, seed)
        }

        fn restore(
            config: Config,
            seed: Seed,
            (snapshot, age): (Snapshot<A>, Age),
            now: Instant,
        ) -> Result<Self, RestoreError> {
            Self::restore(config, seed, snapshot, age, now)
        }
    }
}
