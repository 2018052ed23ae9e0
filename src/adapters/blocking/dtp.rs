//! DTP nodes with methods that block: payloads that are served and got.

use super::Blocking;
use crate::adapters::dtp;

pub use dtp::{
    DownloadProgress, DtpOptions, DtpStats, Error, NodeFactory, NodeMachine, PayloadNeed,
    PayloadRun, ServedRequest,
};

/// A DTP node on numbered interfaces; see [`dtp::Node`].
pub type Node = Blocking<dtp::Node>;

/// A payload that is being got; see [`dtp::Download`].
pub type Download = Blocking<dtp::Download>;

impl Node {
    /// Returns the node of CSP inside, with all that its handles do.
    #[must_use]
    pub fn csp(&self) -> super::csp::Node {
        self.0.csp().into()
    }
}
