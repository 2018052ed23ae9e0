//! The machines of this crate that can be recorded.

#[cfg(feature = "cotp")]
mod cotp {
    use crate::cotp::{Config, ConfigError, Connection};
    use crate::record::{NoSnapshot, Recorded};
    use crate::{Instant, Seed};

    impl Recorded for Connection {
        const KIND: &'static str = "cotp";
        /// The port of TPKT (RFC 1006 section 4).
        const PORT: u16 = 102;
        type Config = Config;
        type ConfigError = ConfigError;
        type Snapshot = NoSnapshot;
        type RestoreError = ConfigError;

        fn make(config: Config, seed: Seed) -> Result<Self, ConfigError> {
            Self::new(config, &seed)
        }

        fn restore(
            _: Config,
            _: Seed,
            snapshot: NoSnapshot,
            _: Instant,
        ) -> Result<Self, ConfigError> {
            match snapshot {}
        }
    }
}

#[cfg(feature = "csp")]
mod csp {
    use crate::csp::{Config, ConfigError, Node};
    use crate::record::{NoSnapshot, Recorded};
    use crate::{Instant, Seed};

    impl Recorded for Node {
        const KIND: &'static str = "csp";
        type Config = Config;
        type ConfigError = ConfigError;
        type Snapshot = NoSnapshot;
        type RestoreError = ConfigError;

        fn make(config: Config, seed: Seed) -> Result<Self, ConfigError> {
            Self::new(config, &seed)
        }

        fn restore(
            _: Config,
            _: Seed,
            snapshot: NoSnapshot,
            _: Instant,
        ) -> Result<Self, ConfigError> {
            match snapshot {}
        }
    }
}

#[cfg(feature = "dtp")]
mod dtp {
    use crate::dtp::{Config, ConfigError, Node};
    use crate::record::{NoSnapshot, Recorded};
    use crate::{Instant, Seed};

    impl Recorded for Node {
        const KIND: &'static str = "dtp";
        type Config = Config;
        type ConfigError = ConfigError;
        type Snapshot = NoSnapshot;
        type RestoreError = ConfigError;

        fn make(config: Config, seed: Seed) -> Result<Self, ConfigError> {
            Self::new(config, &seed)
        }

        fn restore(
            _: Config,
            _: Seed,
            snapshot: NoSnapshot,
            _: Instant,
        ) -> Result<Self, ConfigError> {
            match snapshot {}
        }
    }
}

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
