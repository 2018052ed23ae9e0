//! The options of TCP sockets.

use core::time::Duration;

use socket2::{SockRef, TcpKeepalive};

/// How TCP notices that a peer has vanished. A socket that lacks one of the options works without it.
///
/// By default a silent peer is noticed within 90 s, and one that acknowledges nothing within 30 s. On Linux
/// `user_timeout` counts for probes too: if it is shorter than `idle`, the second probe without an answer is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpOptions {
    /// After how long without octets from the peer TCP asks for a sign of life, as RFC 2126 section 6.1 suggests to.
    /// `None` never asks. Default 60 s.
    pub idle: Option<Duration>,
    /// How long TCP waits for an answer before it asks again. Default 10 s.
    pub interval: Duration,
    /// How often TCP asks before the connection is given up. Default 3.
    pub probes: u32,
    /// How long sent octets may stay unacknowledged (`TCP_USER_TIMEOUT` of Linux). `None` leaves it to the system,
    /// which waits for about 15 min. Default 30 s.
    pub user_timeout: Option<Duration>,
}

impl Default for TcpOptions {
    fn default() -> Self {
        Self {
            idle: Some(Duration::from_secs(60)),
            interval: Duration::from_secs(10),
            probes: 3,
            user_timeout: Some(Duration::from_secs(30)),
        }
    }
}

impl TcpOptions {
    /// Sets the options of a connection, and switches off Nagle's algorithm, which would hold back the last segment of
    /// each message (RFC 2126 section 6.2).
    pub(crate) fn apply(&self, socket: &SockRef<'_>) {
        let _ = socket.set_tcp_nodelay(true);
        if let Some(idle) = self.idle {
            let keepalive = TcpKeepalive::new().with_time(idle);
            #[cfg(any(
                target_os = "android",
                target_os = "freebsd",
                target_os = "ios",
                target_os = "linux",
                target_os = "macos",
                target_os = "netbsd",
                target_os = "windows"
            ))]
            let keepalive = keepalive
                .with_interval(self.interval)
                .with_retries(self.probes);
            let _ = socket.set_tcp_keepalive(&keepalive);
        }
        #[cfg(any(target_os = "android", target_os = "linux"))]
        let _ = socket.set_tcp_user_timeout(self.user_timeout);
    }
}
