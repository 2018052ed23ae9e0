//! Statistics of a trace: packets and octets for each pair of nodes.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::{Delivery, DropReason, Node, Trace};

/// Traffic statistics of a trace. `Display` prints them as a table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Statistics {
    /// A row for each sender and receiver, in the order of the hosts.
    pub traffic: Vec<Traffic>,
}

/// What one node sent to another. A packet that a NAT dropped was sent to the NAT.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Traffic {
    /// The name of the sender.
    pub from: String,
    /// The name of the receiver, or empty if there was none.
    pub to: String,
    /// The number of packets sent, without copies that the line made.
    pub packets: u64,
    /// The octets of these packets.
    pub octets: u64,
    /// The number of packets that arrived, with copies.
    pub arrived: u64,
    /// The number of packets in flight.
    pub in_flight: u64,
    /// The number of lost packets by reason.
    pub lost: BTreeMap<DropReason, u64>,
    /// The number of packets that were sent before.
    pub repeated: u64,
    /// The number of copies that the line made.
    pub copies: u64,
    /// The number of corrupted packets.
    pub corrupted: u64,
    /// The shortest time in flight.
    pub shortest: Duration,
    /// The mean time in flight.
    pub mean: Duration,
    /// The longest time in flight.
    pub longest: Duration,
}

impl Traffic {
    /// Returns the number of lost packets.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.values().sum()
    }

    fn count(&mut self, packet: &super::TracePacket, total: &mut Duration) {
        if packet.is_copy {
            self.copies += 1;
        } else {
            self.packets += 1;
            self.octets += u64::try_from(packet.len).unwrap_or(u64::MAX);
        }
        self.repeated += u64::from(packet.is_repeated && !packet.is_copy);
        self.corrupted += u64::from(packet.is_corrupted);
        match packet.delivery {
            Delivery::InFlight => self.in_flight += 1,
            Delivery::Lost(_, reason) => *self.lost.entry(reason).or_default() += 1,
            Delivery::Arrived(at) => {
                let took = at - packet.time;
                let is_first = self.arrived == 0;
                self.arrived += 1;
                *total += took;
                self.longest = self.longest.max(took);
                self.shortest = if is_first {
                    took
                } else {
                    self.shortest.min(took)
                };
            }
        }
    }

    fn cells(&self) -> [String; 10] {
        let mut lost = self.lost().to_string();
        for (reason, count) in &self.lost {
            let between = if lost.contains('(') { "," } else { " (" };
            lost.push_str(&format!("{between} {count} {reason}").replace("( ", "("));
        }
        if self.lost() > 0 {
            lost.push(')');
        }
        [
            self.from.clone(),
            self.to.clone(),
            self.packets.to_string(),
            self.octets.to_string(),
            self.arrived.to_string(),
            self.repeated.to_string(),
            self.copies.to_string(),
            self.corrupted.to_string(),
            format!("{:?} {:?} {:?}", self.shortest, self.mean, self.longest),
            lost,
        ]
    }
}

impl Trace {
    /// Returns the traffic of each pair of nodes.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let mut rows: BTreeMap<(Node, Option<Node>), (Traffic, Duration)> = BTreeMap::new();
        for packet in self.packets() {
            let (row, total) = rows.entry((packet.from, packet.to)).or_default();
            row.count(packet, total);
        }
        let traffic = rows.into_iter().map(|((from, to), (row, total))| Traffic {
            from: self.name(from).into(),
            to: to.map(|to| self.name(to).into()).unwrap_or_default(),
            mean: mean(total, row.arrived),
            ..row
        });
        Statistics {
            traffic: traffic.collect(),
        }
    }
}

fn mean(total: Duration, count: u64) -> Duration {
    let nanos = total.as_nanos().checked_div(u128::from(count)).unwrap_or(0);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

const HEAD: [&str; 10] = [
    "from",
    "to",
    "packets",
    "octets",
    "arrived",
    "again",
    "copies",
    "corrupted",
    "delay (least, mean, most)",
    "lost",
];

impl fmt::Display for Statistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: Vec<[String; 10]> = self.traffic.iter().map(Traffic::cells).collect();
        let mut widths = HEAD.map(str::len);
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.len());
            }
        }
        line(f, &HEAD.map(String::from), &widths)?;
        for row in &rows {
            line(f, row, &widths)?;
        }
        Ok(())
    }
}

/// Writes a row: names to the left, numbers to the right.
fn line(f: &mut fmt::Formatter<'_>, cells: &[String; 10], widths: &[usize; 10]) -> fmt::Result {
    for (column, (cell, width)) in cells.iter().zip(widths).enumerate() {
        match column {
            0 => write!(f, "{cell:<width$}")?,
            1 => write!(f, "  {cell:<width$}")?,
            9 => write!(f, "  {cell}")?,
            _ => write!(f, "  {cell:>width$}")?,
        }
    }
    writeln!(f)
}
