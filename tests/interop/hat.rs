//! `hat-drivers`, the COTP of the Hat Open project, as client and as server.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use farlink::adapters::cotp::{Error, Info};
use farlink::adapters::tokio::cotp::{self, Arrival, Connection, Listener};
use farlink::cotp::{
    Config, ConnectionTimers, Disconnect, DisconnectReason, EndReason, Policy, Selector, TpduSize,
};
use serde_json::Value;

use crate::script::Script;

const WHY: &str = "run tests/interop/setup.sh first";
/// Message sizes around the TPDU size of hat, 2048 octets, around the largest TPKT, and far beyond.
const SIZES: [usize; 7] = [1, 2045, 2046, 4090, 65_528, 65_529, 1 << 20];
const PATIENCE: Duration = Duration::from_secs(60);

/// A `hat-drivers` process that prints its events, one JSON object per line.
struct Hat(Script);

impl Hat {
    fn start(arguments: &[&str]) -> Self {
        Self(Script::start("hat_cotp_peer.py", arguments, WHY))
    }

    fn serve(arguments: &[&str]) -> (Self, SocketAddr) {
        let mut hat = Self::start(&[&["serve", "--until-eof", "--verbose"], arguments].concat());
        let listening = hat.told("listening");
        let port = u16::try_from(listening["port"].as_u64().unwrap()).unwrap();
        (hat, SocketAddr::from(([127, 0, 0, 1], port)))
    }

    fn connect(to: SocketAddr, arguments: &[&str]) -> Self {
        let port = to.port().to_string();
        Self::start(&[&["connect", "--port", &port], arguments].concat())
    }

    /// Returns the next event, which must have this name.
    fn told(&mut self, event: &str) -> Value {
        self.0.told(event)
    }
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        tokio::time::timeout(PATIENCE, test)
            .await
            .expect("the test hangs");
    });
}

/// Returns the payload of vectors/README.md.
fn pattern(size: usize, seed: usize) -> Bytes {
    (0..size)
        .map(|i| u8::try_from((7 * i + i / 251 + seed) % 256).unwrap())
        .collect()
}

async fn listen(policy: Policy) -> Listener {
    cotp::listen("127.0.0.1:0", Config::responder(policy))
        .await
        .unwrap()
}

async fn echo(mut connection: Connection) -> Result<(), Error> {
    while let Some(message) = connection.receive().await? {
        connection.send(message).await?;
    }
    Ok(())
}

/// Sends all messages while their echo is received.
async fn exchange(connection: Connection, messages: &[Bytes]) {
    let (sender, mut receiver) = connection.split();
    let sending = async {
        for message in messages {
            sender.send(message.clone()).await.unwrap();
        }
    };
    let receiving = async {
        for message in messages {
            assert_eq!(receiver.receive().await.unwrap().as_ref(), Some(message));
        }
    };
    tokio::join!(sending, receiving);
    sender.close().await.unwrap();
}

async fn every_size_comes_back(config: Config) {
    let (_hat, address) = Hat::serve(&["--do", "echo"]);
    let connection = cotp::connect(address, config).await.unwrap();
    let messages: Vec<Bytes> = SIZES.iter().map(|&size| pattern(size, 0)).collect();

    exchange(connection, &messages).await;
}

#[test]
#[ignore = "needs hat-drivers; tests/interop/setup.sh installs it"]
fn a_hat_server_without_selectors_echoes_every_size() {
    run(every_size_comes_back(Config::default()));
}

#[test]
#[ignore = "needs hat-drivers; tests/interop/setup.sh installs it"]
fn a_hat_server_with_selectors_echoes_every_size() {
    let (calling, called) = (Selector::from(0x0100), Selector::from(0x0102));
    run(every_size_comes_back(Config::initiator(
        Some(calling),
        Some(called),
    )));
}

#[test]
#[ignore = "needs hat-drivers; tests/interop/setup.sh installs it"]
fn a_hat_server_agrees_to_every_tpdu_size_of_class_0() {
    for octets in [128, 256, 512, 1024, 2048] {
        let tpdu_size = TpduSize::from_octets(octets).unwrap();
        run(async {
            let (mut hat, address) = Hat::serve(&["--do", "echo"]);
            let config = Config {
                tpdu_size,
                ..Config::default()
            };
            let connection = cotp::connect(address, config).await.unwrap();

            assert_eq!(connection.info().tpdu_size, octets);
            assert_eq!(hat.told("accepted")["tpdu_size"], octets);
            exchange(connection, &[pattern(10_000, 3)]).await;
        });
    }
}

/// It knows selectors as integers, and writes them in two octets.
#[test]
#[ignore = "needs hat-drivers; tests/interop/setup.sh installs it"]
fn a_hat_server_is_reached_by_selectors_of_one_octet() {
    let selector = |octet| Some(Selector::new(vec![octet]));

    run(every_size_comes_back(Config::initiator(
        selector(1),
        selector(2),
    )));
}

#[test]
#[ignore = "needs hat-drivers; tests/interop/setup.sh installs it"]
fn a_hat_server_sees_both_selectors_and_the_messages() {
    run(async {
        let (mut hat, address) = Hat::serve(&["--do", "sink"]);
        let config = Config::initiator(Some(Selector::from(1)), Some(Selector::from(2)));
        let connection = cotp::connect(address, config).await.unwrap();

        connection.send("hello").await.unwrap();
        connection.close().await.unwrap();

        let accepted = hat.told("accepted");
        assert_eq!(
            (&accepted["remote_tsel"], &accepted["local_tsel"]),
            (&1.into(), &2.into())
        );
        assert_eq!(hat.told("message")["hex"], "68656c6c6f");
        assert_eq!(hat.told("closed")["messages"], 1);
    });
}

/// The servers of MMS of hat stand on its COTP.
#[test]
#[ignore = "needs hat-drivers; tests/interop/setup.sh installs it"]
fn a_hat_server_sees_the_selectors_of_the_presets() {
    for (preset, selectors) in [
        (Config::mms(), [0, 1]),
        (Config::hat(Some(7), Some(9)), [7, 9]),
    ] {
        run(async {
            let (mut hat, address) = Hat::serve(&["--do", "echo"]);
            let connection = cotp::connect(address, preset).await.unwrap();

            let accepted = hat.told("accepted");
            let seen = [&accepted["remote_tsel"], &accepted["local_tsel"]];
            assert_eq!(
                seen,
                [&selectors[0].into(), &selectors[1].into()] as [&Value; 2]
            );
            exchange(connection, &[pattern(100, 1)]).await;
        });
    }
}

#[test]
#[ignore = "needs hat-drivers; tests/interop/setup.sh installs it"]
fn two_hundred_messages_back_to_back_come_back_in_order_from_a_hat_server() {
    run(async {
        let (_hat, address) = Hat::serve(&["--do", "echo"]);
        let connection = cotp::connect(address, Config::default()).await.unwrap();
        let messages: Vec<Bytes> = (0..200).map(|n| pattern(1 + 37 * n, n)).collect();

        exchange(connection, &messages).await;
    });
}

#[test]
#[ignore = "needs hat-drivers; tests/interop/setup.sh installs it"]
fn a_refusal_by_dr_is_told_with_its_reason() {
    run(async {
        let (_hat, address) = Hat::serve(&["--do", "refuse", "--reason", "2"]);

        let error = cotp::connect(address, Config::default()).await.unwrap_err();

        let Error::Ended(end) = &error else {
            panic!("{error:?}")
        };
        let EndReason::Refused(Disconnect { reason, .. }) = end.reason else {
            panic!("{end:?}")
        };
        assert_eq!(reason, DisconnectReason::NOT_ATTACHED);
    });
}

#[test]
#[ignore = "needs hat-drivers; tests/interop/setup.sh installs it"]
fn a_refusal_by_the_end_of_tcp_asks_for_the_selector() {
    run(async {
        let (_hat, address) = Hat::serve(&["--do", "hang-up"]);

        let error = cotp::connect(address, Config::default()).await.unwrap_err();

        assert_eq!(
            error.to_string(),
            EndReason::ClosedBeforeConfirm.to_string()
        );
    });
}

#[test]
#[ignore = "needs hat-drivers; tests/interop/setup.sh installs it"]
fn a_server_that_never_answers_is_given_up() {
    run(async {
        let (_hat, address) = Hat::serve(&["--do", "silent"]);
        let span = Duration::from_millis(300);
        let config = Config {
            timers: ConnectionTimers {
                answer_timeout: Some(span),
                ..ConnectionTimers::default()
            },
            ..Config::default()
        };

        let error = cotp::connect(address, config).await.unwrap_err();

        let Error::Ended(end) = &error else {
            panic!("{error:?}")
        };
        assert_eq!(end.reason, EndReason::NoConfirm(span));
    });
}

#[test]
#[ignore = "needs hat-drivers; tests/interop/setup.sh installs it"]
fn a_reset_is_told_apart_from_a_close() {
    run(async {
        let (_hat, address) = Hat::serve(&["--do", "reset"]);
        let mut connection = cotp::connect(address, Config::default()).await.unwrap();
        connection.send("go").await.unwrap();

        let error = connection.receive().await.unwrap_err();

        assert_eq!(error.to_string(), "connection reset by the peer");
    });
}

#[test]
#[ignore = "needs hat-drivers; tests/interop/setup.sh installs it"]
fn an_end_inside_a_packet_is_told_as_truncation() {
    run(async {
        let (_hat, address) = Hat::serve(&["--do", "truncate"]);
        let mut connection = cotp::connect(address, Config::default()).await.unwrap();
        connection.send("go").await.unwrap();

        let error = connection.receive().await.unwrap_err();

        let Error::Ended(end) = &error else {
            panic!("{error:?}")
        };
        assert_eq!(end.reason, EndReason::PeerClosed);
        assert!(end.incomplete > 0, "{end:?}");
    });
}

#[test]
#[ignore = "needs hat-drivers; tests/interop/setup.sh installs it"]
fn what_a_hat_server_sent_before_it_closed_arrives() {
    run(async {
        let arguments = ["--do", "close", "--send", "5", "--send", "5000"];
        let (_hat, address) = Hat::serve(&arguments);
        let mut connection = cotp::connect(address, Config::default()).await.unwrap();

        assert_eq!(connection.receive().await.unwrap(), Some(pattern(5, 0)));
        assert_eq!(connection.receive().await.unwrap(), Some(pattern(5000, 1)));
        assert_eq!(connection.receive().await.unwrap(), None);
    });
}

/// Makes a hat client send messages of each size, checks their echo, and returns the events of hat.
async fn serve_a_hat_client(listener: Listener, arguments: &[&str]) -> (Value, Info) {
    let sizes: Vec<String> = SIZES.iter().map(ToString::to_string).collect();
    let sizes = sizes.iter().flat_map(|size| ["--size", size.as_str()]);
    let all: Vec<&str> = arguments
        .iter()
        .copied()
        .chain(["--echo"])
        .chain(sizes)
        .collect();
    let mut hat = Hat::connect(listener.local_addr(), &all);

    let connection = listener.accept().await.unwrap();
    let info = connection.info().clone();
    echo(connection).await.unwrap();

    let result = tokio::task::spawn_blocking(move || hat.told("result"))
        .await
        .unwrap();
    (result, info)
}

#[test]
#[ignore = "needs hat-drivers; tests/interop/setup.sh installs it"]
fn a_hat_client_without_selectors_gets_every_size_back() {
    run(async {
        let (result, info) = serve_a_hat_client(listen(Policy::AcceptAny).await, &[]).await;

        assert_eq!(result["ok"], true, "{result}");
        assert_eq!((info.local_selector, info.remote_selector), (None, None));
    });
}

#[test]
#[ignore = "needs hat-drivers; tests/interop/setup.sh installs it"]
fn a_hat_client_with_selectors_gets_every_size_back() {
    run(async {
        let arguments = ["--local-tsel", "0x100", "--remote-tsel", "0x102"];
        let (result, info) = serve_a_hat_client(listen(Policy::AcceptAny).await, &arguments).await;

        assert_eq!(result["ok"], true, "{result}");
        assert_eq!(
            (&result["local_tsel"], &result["remote_tsel"]),
            (&256.into(), &258.into())
        );
        assert_eq!(info.local_selector, Some(Selector::from(0x0102)));
        assert_eq!(info.remote_selector, Some(Selector::from(0x0100)));
        assert_eq!(info.tpdu_size, 2048);
    });
}

#[test]
#[ignore = "needs hat-drivers; tests/interop/setup.sh installs it"]
fn two_hundred_messages_back_to_back_of_a_hat_client_arrive() {
    run(async {
        let listener = listen(Policy::AcceptAny).await;
        let arguments = ["--echo", "--size", "100", "--count", "200"];
        let mut hat = Hat::connect(listener.local_addr(), &arguments);

        echo(listener.accept().await.unwrap()).await.unwrap();

        let result = tokio::task::spawn_blocking(move || hat.told("result"))
            .await
            .unwrap();
        assert_eq!(
            (&result["ok"], &result["received"]),
            (&true.into(), &200.into()),
            "{result}"
        );
    });
}

#[test]
#[ignore = "needs hat-drivers; tests/interop/setup.sh installs it"]
fn a_hat_client_with_the_wrong_selector_is_refused() {
    run(async {
        let listener = listen(Policy::Selectors(vec![Selector::from(7)])).await;
        let mut hat = Hat::connect(listener.local_addr(), &["--remote-tsel", "8"]);

        let arrival = listener.next().await.unwrap();

        let Arrival::Failed { error, .. } = arrival else {
            panic!("{arrival:?}")
        };
        assert_eq!(
            error.to_string(),
            "refused by this side: selector unknown (3)"
        );
        let result = tokio::task::spawn_blocking(move || hat.told("result"))
            .await
            .unwrap();
        assert_eq!(
            (&result["ok"], &result["connected"]),
            (&false.into(), &false.into())
        );
    });
}

#[test]
#[ignore = "needs hat-drivers; tests/interop/setup.sh installs it"]
fn a_hat_client_that_resets_is_told_as_such() {
    run(async {
        let listener = listen(Policy::AcceptAny).await;
        let _hat = Hat::connect(listener.local_addr(), &["--size", "3", "--reset"]);
        let mut connection = listener.accept().await.unwrap();

        assert_eq!(connection.receive().await.unwrap(), Some(pattern(3, 0)));
        let error = connection.receive().await.unwrap_err();

        assert_eq!(error.to_string(), "connection reset by the peer");
    });
}

#[test]
#[ignore = "needs hat-drivers; tests/interop/setup.sh installs it"]
fn a_close_of_ours_ends_a_hat_client_in_good_order() {
    run(async {
        let listener = listen(Policy::AcceptAny).await;
        let arguments = ["--receive", "1", "--wait-closed"];
        let mut hat = Hat::connect(listener.local_addr(), &arguments);
        let connection = listener.accept().await.unwrap();

        connection.send("last words").await.unwrap();
        connection.close().await.unwrap();

        let result = tokio::task::spawn_blocking(move || hat.told("result"))
            .await
            .unwrap();
        assert_eq!(result["ok"], true, "{result}");
    });
}

#[cfg(feature = "tls")]
mod over_tls {
    use std::path::PathBuf;
    use std::sync::Arc;

    use farlink::adapters::cotp::ConnectionOptions;
    use farlink::adapters::tls::{self, rustls};
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

    use super::*;

    /// A certificate and its key, which Python reads from a file.
    struct Certified {
        certificate: CertificateDer<'static>,
        key: Vec<u8>,
        file: PathBuf,
    }

    impl Certified {
        fn new(name: &str) -> Self {
            let made = rcgen::generate_simple_self_signed(["plant.example".to_owned()]).unwrap();
            let file = format!("farlink-{}-{name}.pem", std::process::id());
            let file = std::env::temp_dir().join(file);
            let text = made.cert.pem() + &made.signing_key.serialize_pem();
            std::fs::write(&file, text).unwrap();
            Self {
                certificate: made.cert.der().clone(),
                key: made.signing_key.serialize_der(),
                file,
            }
        }

        fn file(&self) -> &str {
            self.file.to_str().unwrap()
        }
    }

    impl Drop for Certified {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.file);
        }
    }

    #[test]
    #[ignore = "needs hat-drivers; tests/interop/setup.sh installs it"]
    fn a_hat_server_echoes_every_size() {
        run(async {
            let certified = Certified::new("server");
            let (_hat, address) = Hat::serve(&["--do", "echo", "--tls", certified.file()]);
            let mut roots = rustls::RootCertStore::empty();
            roots.add(certified.certificate.clone()).unwrap();
            let config = rustls::ClientConfig::builder()
                .with_root_certificates(roots)
                .with_no_client_auth();
            let mut options = ConnectionOptions::from(Config::hat(Some(1), Some(2)));
            let name = "plant.example".try_into().unwrap();
            options.upgrade = Some(tls::client(Arc::new(config), name));

            let connection = cotp::connect(address, options).await.unwrap();

            let messages: Vec<Bytes> = SIZES.iter().map(|&size| pattern(size, 0)).collect();
            exchange(connection, &messages).await;
        });
    }

    #[test]
    #[ignore = "needs hat-drivers; tests/interop/setup.sh installs it"]
    fn a_hat_client_gets_every_size_back() {
        run(async {
            let certified = Certified::new("client");
            let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(certified.key.clone()));
            let config = rustls::ServerConfig::builder()
                .with_no_client_auth()
                .with_single_cert(vec![certified.certificate.clone()], key)
                .unwrap();
            let mut options = ConnectionOptions::from(Config::responder(Policy::AcceptAny));
            options.upgrade = Some(tls::server(Arc::new(config)));
            let listener = cotp::listen("127.0.0.1:0", options).await.unwrap();

            let arguments = ["--tls", certified.file()];
            let (result, _) = serve_a_hat_client(listener, &arguments).await;

            assert_eq!(result["ok"], true, "{result}");
        });
    }
}
