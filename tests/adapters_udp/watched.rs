//! Sockets that a runtime watches.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use farlink::adapters::runtime::Runtime;
use farlink::adapters::udp::{AsyncSocket, RecvBuffers, UdpOptions};
use farlink::{Path, Transmit};
use tokio::time::timeout;

use super::{AT_LAST, LIMITS, bound};

#[cfg(feature = "tokio")]
#[tokio::test]
async fn on_tokio() {
    batches_pass(&farlink::adapters::tokio::runtime()).await;
    a_receiver_that_waits_is_woken(farlink::adapters::tokio::runtime()).await;
}

#[cfg(feature = "blocking")]
#[tokio::test]
async fn on_threads() {
    batches_pass(&farlink::adapters::blocking::runtime()).await;
    a_receiver_that_waits_is_woken(farlink::adapters::blocking::runtime()).await;
}

async fn batches_pass(runtime: &Arc<dyn Runtime>) {
    let (sender, receiver) = (watched(runtime), watched(runtime));
    let to = Path::udp(sender.local_addr(), receiver.local_addr());
    let mut tx = Transmit::new(LIMITS);
    for number in 0..46 {
        assert!(tx.push(to, 1400, |out| out.resize(out.len() + 1400, number)));
    }

    let mut sent = 0;
    poll_fn(|cx| sender.poll_send(cx, &tx, &mut sent)).await;

    let (mut buffers, mut numbers) = (RecvBuffers::default(), Vec::new());
    while numbers.len() < 46 {
        let arrival = poll_fn(|cx| {
            receiver.poll_receive(cx, &mut buffers, |_, octets| numbers.push(octets[0]))
        });
        timeout(AT_LAST, arrival).await.unwrap().unwrap();
    }
    assert_eq!(numbers, (0..46).collect::<Vec<u8>>());
    assert_eq!((sender.stats().sent, receiver.stats().received), (46, 46));
}

async fn a_receiver_that_waits_is_woken(runtime: Arc<dyn Runtime>) {
    let receiver = watched(&runtime);
    let to = receiver.local_addr();
    let waiting = tokio::spawn(async move {
        let mut buffers = RecvBuffers::default();
        let mut lengths = Vec::new();
        poll_fn(|cx| {
            receiver.poll_receive(cx, &mut buffers, |_, octets| lengths.push(octets.len()))
        })
        .await
        .unwrap();
        lengths
    });
    tokio::time::sleep(Duration::from_millis(10)).await;

    let peer = watched(&runtime).into_std().unwrap();
    peer.send_to(b"wake up", to).unwrap();

    assert_eq!(timeout(AT_LAST, waiting).await.unwrap().unwrap(), [7]);
}

fn watched(runtime: &Arc<dyn Runtime>) -> AsyncSocket {
    AsyncSocket::new(&**runtime, bound(), &UdpOptions::default()).unwrap()
}
