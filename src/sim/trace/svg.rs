/// How the axis is laid.
#[derive(Debug, Clone, Copy)]
pub enum Axis {
    /// x
    Compressed,
}
/// x
#[derive(Debug, Clone, Copy)]
pub struct Drawing;
