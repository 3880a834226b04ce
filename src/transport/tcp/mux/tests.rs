use bytes::{Buf, Bytes, BytesMut};

use super::super::frame::Decoder;
use super::super::stream::{Receiver, Sender};
use super::*;
use crate::transport::StreamError;

/// Both sides of a connection, whose client has logged in.
fn pair() -> [Arc<Mux>; 2] {
    let server = Mux::new(Side::Server);
    server.admit();
    [Mux::new(Side::Client), server]
}

/// Carries all that either side has to say, until neither has.
fn carry([client, server]: &[Arc<Mux>; 2]) {
    let mut decoders = [Decoder::default(), Decoder::default()];
    loop {
        let mut quiet = true;
        for (from, to, decoder) in [(client, server, 0), (server, client, 1)] {
            let mut batch = Batch::default();
            from.gather(&mut batch);
            batch.seal();
            quiet &= batch.len() == 0;
            let mut bytes = BytesMut::from(&batch.copy_to_bytes(batch.remaining())[..]);
            while let Some(frame) = decoders[decoder].next(&mut bytes).unwrap() {
                to.take(Ok(frame));
            }
        }
        if quiet {
            return;
        }
    }
}

async fn flow(pair: &[Arc<Mux>; 2]) -> [(Sender, Receiver); 2] {
    let halves =
        |mux: &Arc<Mux>, id| (Sender::new(id, mux.clone()), Receiver::new(id, mux.clone()));
    let id = pair[0].open().await.unwrap();
    let mut near = halves(&pair[0], id);
    near.0.write(Bytes::from_static(b"x")).await.unwrap();
    carry(pair);
    let id = pair[1].accept().await.unwrap();
    let mut far = halves(&pair[1], id);
    assert_eq!(far.1.read_some(9).await.unwrap().unwrap(), "x");
    [near, far]
}

fn assert_forgotten(pair: &[Arc<Mux>; 2]) {
    for mux in pair {
        assert!(mux.lock().streams.is_empty());
        assert_eq!(mux.slots.available_permits(), MAX_FLOWS as usize);
        assert_eq!(mux.room.available_permits(), SEND_WINDOW);
    }
}

#[tokio::test]
async fn an_end_is_an_end_and_a_flow_that_is_over_is_forgotten() {
    let pair = pair();
    let [mut near, mut far] = flow(&pair).await;
    for (from, to) in [(&mut near.0, &mut far.1), (&mut far.0, &mut near.1)] {
        from.write(Bytes::from(vec![7; 300_000])).await.unwrap();
        from.end();
        carry(&pair);
        let mut arrived = 0;
        while let Some(bytes) = to.read_some(usize::MAX).await.unwrap() {
            arrived += bytes.len();
        }
        assert_eq!(arrived, 300_000);
        to.settle();
        carry(&pair);
        from.finish().await.unwrap();
    }
    drop((near, far));
    carry(&pair);
    assert_forgotten(&pair);
}

#[tokio::test]
async fn a_reset_tells_its_code_and_is_no_end() {
    let pair = pair();
    let [mut near, mut far] = flow(&pair).await;
    far.0.reset(ResetCode::Refused);
    far.1.stop(ResetCode::Refused);
    drop(far);
    carry(&pair);
    let refused = |error| matches!(error, StreamError::Reset(ResetCode::Refused));
    assert!(refused(near.1.wait().await.unwrap_err()));
    assert!(refused(near.0.stopped().await.unwrap()));
    assert!(refused(
        near.0.write(Bytes::from_static(b"y")).await.unwrap_err()
    ));
    drop(near);
    carry(&pair);
    assert_forgotten(&pair);
}

#[tokio::test]
async fn a_half_that_is_dropped_breaks_the_flow() {
    let pair = pair();
    let [near, mut far] = flow(&pair).await;
    drop(near);
    carry(&pair);
    assert!(far.1.wait().await.is_err());
    drop(far);
    carry(&pair);
    assert_forgotten(&pair);
}

#[tokio::test]
async fn a_reader_that_has_stopped_holds_up_nobody_else() {
    let pair = pair();
    let [mut stopped, _reader] = flow(&pair).await;
    let window = stopped.0.allowance().await;
    stopped.0.write(Bytes::from(vec![0; window])).await.unwrap();
    let [mut near, mut far] = flow(&pair).await;
    near.0.write(Bytes::from_static(b"y")).await.unwrap();
    carry(&pair);
    assert_eq!(far.1.read_some(9).await.unwrap().unwrap(), "y");
}

#[tokio::test]
async fn one_that_passes_its_limit_or_has_not_logged_in_is_cut_off() {
    let server = Mux::new(Side::Server);
    server.take(Ok(Frame::Data(0, Bytes::new())));
    assert!(!server.is_over());
    server.take(Ok(Frame::Data(2, Bytes::new())));
    assert!(server.is_over() && server.goodbye().is_some());

    let [_, server] = pair();
    for _ in 0..8 {
        server.take(Ok(Frame::Data(0, Bytes::from(vec![0; 65_536]))));
    }
    assert!(!server.is_over());
    server.take(Ok(Frame::Data(0, Bytes::from_static(b"z"))));
    assert!(server.is_over());
    assert!(matches!(server.closed().await, Lost::Failed(_)));
}
