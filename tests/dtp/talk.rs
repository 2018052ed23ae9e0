//! A node driven by hand.

use farlink::Seed;
use farlink::dtp::{Config, Node};

use crate::node_talk::NodeTalk;

pub(crate) type Talk = NodeTalk<Node>;

impl Talk {
    pub(crate) fn new(config: Config) -> Self {
        Self::with(Node::new(config, &Seed::from(5)).unwrap())
    }
}
