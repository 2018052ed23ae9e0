//! What a datagram costs: no memory.

use allocation_counter::measure;

use super::{RecvBuffers, batch, socket};

#[test]
fn neither_sending_nor_receiving_allocates() {
    let (sender, receiver) = (socket(), socket());
    let tx = batch(&sender, &receiver, (46, 1400, 1000));
    let mut buffers = RecvBuffers::default();
    let (mut sent, mut octets, mut arrived) = (0, 0, 0);

    let info = measure(|| {
        for _ in 0..100 {
            while !sender.send(&tx, &mut sent) {}
            let mut count = 0;
            while count < 46 {
                count += receiver
                    .receive(&mut buffers, |_, datagram| octets += datagram.len())
                    .unwrap_or(0);
            }
            arrived += count;
        }
    });

    assert_eq!(arrived, 4600);
    assert_eq!(octets, 100 * (45 * 1400 + 1000));
    assert_eq!(info.count_total, 0, "{info:?}");
}
