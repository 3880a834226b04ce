use proptest::prelude::*;

use super::*;

fn flow() -> impl Strategy<Value = FlowId> {
    let number = prop_oneof![0..70u64, 1000..1100u64, Just(MAX_FLOW), 0..=MAX_FLOW];
    (any::<bool>(), number).prop_map(|(senders, number)| FlowId { senders, number })
}

fn introduction() -> impl Strategy<Value = Option<Introduction>> {
    let header = prop_oneof![
        any::<u32>().prop_map(FlowHeader::Fixed),
        any::<u32>().prop_map(|n| FlowHeader::Asked(n, "udp://[::1]:53".parse().unwrap())),
    ];
    let introduction = (header, any::<u32>());
    let introduction = introduction.prop_map(|(header, idle)| Introduction { header, idle });
    proptest::option::of(introduction)
}

proptest! {
    #[test]
    fn packets_survive_the_journey(
        flow in flow(),
        introduction in introduction(),
        packet in proptest::collection::vec(any::<u8>(), 0..300),
        count in 1..50usize,
        largest in 60..2000usize,
    ) {
        let encoded = introduction.as_ref().map(Introduction::encode);
        let envelope = Envelope { flow, introduction: encoded.as_deref() };
        let count = count.min(envelope.room(packet.len(), largest));
        prop_assume!(count > 0);
        let datagram = envelope.packets(std::iter::repeat_n(&packet[..], count));
        prop_assert!(datagram.len() <= largest);
        let size = packet.len();
        let carried = Carried::Packets { size, bytes: packet.repeat(count).into() };
        let content = Content::Carried(introduction, carried);
        prop_assert_eq!(Datagram::decode(datagram), Ok(Datagram { flow, content }));
    }

    #[test]
    fn fragments_make_up_their_packet(
        flow in flow(),
        introduction in introduction(),
        number in any::<u16>(),
        size in 1..=MAX_PACKET,
        largest in 1000..17_000usize,
    ) {
        let packet: Vec<_> = (0..size).map(|i| (i / 7) as u8).collect();
        let encoded = introduction.as_ref().map(Introduction::encode);
        let envelope = Envelope { flow, introduction: encoded.as_deref() };
        let datagrams: Vec<_> = envelope.fragments(number, &packet, largest).collect();
        let mut joined = Vec::new();
        for (place, datagram) in datagrams.iter().enumerate() {
            prop_assert!(datagram.len() <= largest);
            let decoded = Datagram::decode(datagram.clone()).unwrap();
            prop_assert_eq!(decoded.flow, flow);
            let Content::Carried(said, Carried::Fragment { packet, index, count, bytes }) =
                decoded.content
            else {
                panic!("no fragment");
            };
            prop_assert_eq!(&said, &introduction);
            prop_assert_eq!((packet, index as usize), (number, place));
            prop_assert_eq!(count as usize, datagrams.len());
            joined.extend_from_slice(&bytes);
        }
        prop_assert!(joined == packet);
    }

    #[test]
    fn words_survive_the_journey(flow in flow(), code in any::<u8>()) {
        for (word, content) in [
            (Word::Known, Content::Known),
            (Word::Unknown, Content::Unknown),
            (Word::Refused(code), Content::Refused(code)),
        ] {
            let datagram = Datagram::word(flow, word);
            prop_assert_eq!(Datagram::decode(datagram), Ok(Datagram { flow, content }));
        }
    }

    #[test]
    fn nothing_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = Datagram::decode(bytes.into());
    }
}

#[test]
fn what_fits_no_packet_is_an_error() {
    let several = |size: u64, bytes: usize| {
        let mut out = BytesMut::new();
        encode_varint(u64::from(PACKETS) << 1, &mut out);
        encode_varint(size, &mut out);
        out.extend(vec![0; bytes]);
        Datagram::decode(out.freeze())
    };
    assert!(several(5, 10).is_ok());
    for (size, bytes) in [(5, 11), (0, 10), (5, 0), (u64::MAX >> 2, 10)] {
        assert!(several(size, bytes).is_err(), "{size} {bytes}");
    }
    assert!(several(MAX_PACKET as u64 + 1, MAX_PACKET + 1).is_err());
    // A fragment beyond the last.
    assert!(Datagram::decode(Bytes::from_static(&[FRAGMENT << 1, 0, 0, 3, 3, 9])).is_err());
    // An introduction within an introduction.
    let nested = Bytes::from_static(&[INTRODUCTION << 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0]);
    assert!(Datagram::decode(nested).is_err());
}

#[test]
fn a_packet_of_too_many_fragments_is_none() {
    let flow = FlowId {
        senders: true,
        number: 0,
    };
    let envelope = Envelope {
        flow,
        introduction: None,
    };
    assert_eq!(envelope.fragments(0, &[0; MAX_PACKET], 40).count(), 0);
    assert_eq!(envelope.fragments(0, &[0; MAX_PACKET], 0).count(), 0);
}

#[test]
fn empty_packets_go_one_by_one() {
    let flow = FlowId {
        senders: true,
        number: 0,
    };
    let envelope = Envelope {
        flow,
        introduction: None,
    };
    assert_eq!(envelope.room(0, 1000), 1);
}
