//! A front for servers of RDP: it reads who is asked for, answers, and takes the stream over for TLS.
//!
//! A client of RDP begins with COTP: its CR has a cookie or a token, by which a farm finds the session, and says which
//! security it knows (MS-RDPBCGR 2.2.1.1). The front selects TLS in its CC, and what follows on the stream is a
//! handshake of TLS. The client is played by this program too.
//!
//! `cargo run --features blocking,cotp,tls --example rdp_front`

#![expect(
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    reason = "an example is read by people who write std"
)]

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;

use bytes::Bytes;
use farlink::adapters::Detached;
use farlink::adapters::blocking::cotp::{self, Arrival, ConnectionRequest};
use farlink::adapters::tls::rustls;
use farlink::cotp::{Acceptance, AfterHandshake, Config, DisconnectReason, Policy};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
};

type Failure = Box<dyn Error + Send + Sync>;

/// The request of negotiation: type 1, no flags, 8 octets, TLS (MS-RDPBCGR 2.2.1.1.1).
const REQUEST: [u8; 8] = [1, 0, 8, 0, 1, 0, 0, 0];
/// The answer: type 2, TLS is selected (MS-RDPBCGR 2.2.1.2.1).
const SELECTED: [u8; 8] = [2, 0, 8, 0, 1, 0, 0, 0];

fn main() -> Result<(), Failure> {
    let made = rcgen::generate_simple_self_signed(["desktop.example".to_owned()])?;
    let certificate = made.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let server = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], PrivateKeyDer::Pkcs8(key))?;

    let config = Config {
        after_handshake: AfterHandshake::Pause,
        ..Config::responder(Policy::Ask)
    };
    let listener = cotp::listen("127.0.0.1:0", config)?;
    let address = listener.local_addr();
    let client = thread::spawn(move || play_client(&address.to_string(), certificate));

    if let Arrival::Request(request) = listener.next()? {
        serve(request, Arc::new(server))?;
    }
    client.join().map_err(|_| "the client panicked")?
}

/// Answers a request, and goes on with TLS.
fn serve(request: ConnectionRequest, config: Arc<ServerConfig>) -> Result<(), Failure> {
    let Some(token) = token(&request.indication().variable).map(str::to_owned) else {
        request.refuse(DisconnectReason::NOT_SPECIFIED)?;
        return Err("no request of negotiation for TLS".into());
    };
    println!("front: {} asks by '{token}'", request.remote());
    let acceptance = Acceptance {
        variable: Some(Bytes::from_static(&SELECTED)),
        ..Acceptance::default()
    };
    let stream = request.accept_with(acceptance)?.detach()?;

    let mut tls = StreamOwned::new(ServerConnection::new(config)?, Early::from(stream));
    let mut hello = [0; 5];
    tls.read_exact(&mut hello)?;
    println!(
        "front: TLS is up, the client says {:?}",
        String::from_utf8_lossy(&hello)
    );
    // A front would connect to the server that the token names, and copy octets both ways.
    tls.write_all(b"desktop")?;
    tls.conn.send_close_notify();
    tls.flush()?;
    Ok(())
}

/// Returns the cookie or token of a request that knows TLS. The request of negotiation stands behind it.
fn token(variable: &[u8]) -> Option<&str> {
    let (token, negotiation) = variable.split_last_chunk::<8>()?;
    let knows_tls = negotiation[0] == REQUEST[0] && negotiation[4] & 1 != 0;
    let token = token.strip_suffix(b"\r\n").unwrap_or(token);
    std::str::from_utf8(token).ok().filter(|_| knows_tls)
}

fn play_client(address: &str, certificate: CertificateDer<'static>) -> Result<(), Failure> {
    let request = [&b"Cookie: mstshash=ada\r\n"[..], &REQUEST].concat();
    let mut connection = cotp::connect(address, Config::rdp(request.into()))?;
    assert_eq!(connection.info().agreed.variable, SELECTED[..]);
    let stream = connection.detach()?;

    let mut roots = RootCertStore::empty();
    roots.add(certificate)?;
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let session = ClientConnection::new(Arc::new(config), "desktop.example".try_into()?)?;
    let mut tls = StreamOwned::new(session, Early::from(stream));
    tls.write_all(b"hello")?;
    let mut answer = String::new();
    tls.read_to_string(&mut answer)?;
    println!("client: it is {answer:?}");
    assert_eq!(answer, "desktop");
    Ok(())
}

/// A detached stream: what was read too far comes first.
struct Early {
    early: io::Cursor<Bytes>,
    stream: TcpStream,
}

impl From<Detached<TcpStream>> for Early {
    fn from(detached: Detached<TcpStream>) -> Self {
        Self {
            early: io::Cursor::new(detached.early),
            stream: detached.stream,
        }
    }
}

impl Read for Early {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.early.read(buffer)? {
            0 => self.stream.read(buffer),
            count => Ok(count),
        }
    }
}

impl Write for Early {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.stream.write(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
