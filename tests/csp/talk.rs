//! A node driven by hand.

use farlink::Seed;
use farlink::csp::{Config, Node};

pub(crate) use crate::node_talk::HOP;
use crate::node_talk::NodeTalk;

pub(crate) type Talk = NodeTalk<Node>;

impl Talk {
    pub(crate) fn new(config: Config) -> Self {
        Self::with(Node::new(config, &Seed::from(5)).unwrap())
    }
}
