//! TLS below a machine, by rustls on any runtime. IEC 62351-3 wants it for MMS and ICCP.
//!
//! ```no_run
//! # async fn connect() -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//!
//! use farlink::adapters::tls::rustls::{ClientConfig, RootCertStore};
//! use farlink::adapters::{tls, tokio::cotp};
//! use farlink::cotp::Config;
//!
//! let roots = RootCertStore::empty();
//! // roots.add(..): the certificates of those who may vouch for the server.
//! let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
//! let mut options = cotp::ConnectionOptions::from(Config::default());
//! options.upgrade = Some(tls::client(Arc::new(config), "plant.example".try_into()?));
//! let connection = cotp::connect("plant.example:3782", options).await?;
//! # Ok(()) }
//! ```

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::any::Any;
use core::net::SocketAddr;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::io;

use ::tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::StreamUpgrade;
use super::runtime::ByteStream;

pub use tokio_rustls::rustls;

/// Returns what makes TLS of each stream, as its client. `name` is what the certificate of the server has to name.
#[must_use]
pub fn client(config: Arc<ClientConfig>, name: ServerName<'static>) -> StreamUpgrade {
    let connector = TlsConnector::from(config);
    StreamUpgrade::new(move |stream| {
        let ends = stream.ends();
        let connecting = connector.connect(name.clone(), Carried(stream));
        async move {
            let stream = connecting.await?.into();
            Ok(Box::new(TlsIo { stream, ends }) as Box<dyn ByteStream>)
        }
    })
}

/// Returns what makes TLS of each stream, as its server.
#[must_use]
pub fn server(config: Arc<ServerConfig>) -> StreamUpgrade {
    let acceptor = TlsAcceptor::from(config);
    StreamUpgrade::new(move |stream| {
        let ends = stream.ends();
        let accepting = acceptor.accept(Carried(stream));
        async move {
            let stream = accepting.await?.into();
            Ok(Box::new(TlsIo { stream, ends }) as Box<dyn ByteStream>)
        }
    })
}

/// A stream of TLS. One that ends without `close_notify` is broken, as somebody may have cut it off.
#[derive(derive_more::Debug)]
#[debug("TlsIo(..)")]
pub struct TlsIo {
    stream: tokio_rustls::TlsStream<Carried>,
    ends: Option<(SocketAddr, SocketAddr)>,
}

impl TlsIo {
    /// Returns the state of the session: certificates of the peer, version, cipher suite.
    #[must_use]
    pub fn session(&self) -> &rustls::CommonState {
        self.stream.get_ref().1
    }
}

impl ByteStream for TlsIo {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, octets)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn ends(&self) -> Option<(SocketAddr, SocketAddr)> {
        self.ends
    }

    fn reset(&mut self) {
        self.stream.get_mut().0.0.reset();
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any + Send> {
        self
    }
}

/// A stream that carries TLS.
struct Carried(Box<dyn ByteStream>);

impl AsyncRead for Carried {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let count = ready!(self.0.poll_read(cx, buffer.initialize_unfilled()))?;
        buffer.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Carried {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_write(cx, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_shutdown(cx)
    }
}
