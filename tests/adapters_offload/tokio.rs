//! The same on a socket of tokio.

use std::future::poll_fn;
use std::time::Duration;

use farlink::adapters::offload::{Inbox, Options, Socket};
use farlink::{Path, Transmit};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::{AT_LAST, LIMITS};

#[tokio::test]
async fn batches_pass_between_sockets_of_tokio() {
    let sender = bound().await;
    let receiver = bound().await;
    let to = Path::udp(sender.local_addr(), receiver.local_addr());
    let mut tx = Transmit::new(LIMITS);
    for number in 0..46 {
        assert!(tx.push(to, 1400, |out| out.resize(out.len() + 1400, number)));
    }

    let mut sent = 0;
    poll_fn(|cx| sender.poll_send(cx, &tx, &mut sent)).await;

    let (mut inbox, mut numbers) = (Inbox::default(), Vec::new());
    while numbers.len() < 46 {
        let arrival = poll_fn(|cx| {
            receiver.poll_receive(cx, &mut inbox, |_, octets| numbers.push(octets[0]))
        });
        timeout(AT_LAST, arrival).await.unwrap().unwrap();
    }
    assert_eq!(numbers, (0..46).collect::<Vec<u8>>());
}

#[tokio::test]
async fn a_receiver_that_waits_is_woken() {
    let receiver = bound().await;
    let to = receiver.local_addr();
    let waiting = tokio::spawn(async move {
        let mut inbox = Inbox::default();
        let mut lengths = Vec::new();
        poll_fn(|cx| receiver.poll_receive(cx, &mut inbox, |_, octets| lengths.push(octets.len())))
            .await
            .unwrap();
        lengths
    });
    tokio::time::sleep(Duration::from_millis(10)).await;

    let peer = bound().await.into_inner();
    peer.send_to(b"wake up", to).await.unwrap();

    assert_eq!(timeout(AT_LAST, waiting).await.unwrap().unwrap(), [7]);
}

async fn bound() -> Socket<UdpSocket> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    Socket::new(socket, &Options::default()).unwrap()
}
