//! A record that was sent is not durable before its ack was waited for.
#![deny(unused_must_use)]
use highwater::Sender;

fn send(orders: &Sender<u64>) -> highwater::Result<()> {
    orders.send(&7)?;
    Ok(())
}

fn main() {
    let _ = send;
}
