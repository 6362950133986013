//! Tests of the ids and their tokens.

use super::*;

#[test]
fn id_parts_are_independent() {
    for slot in [0, 1, 77, SLOTS_MAX - 1] {
        for generation in [1, 2, u32::MAX] {
            for (shard, name) in [(0, ""), (1, "1/"), (255, "255/")] {
                let shard = ShardId(shard);
                let id = ConnId::new(shard, slot, generation);
                assert_eq!((id.slot(), id.shard()), (slot as usize, shard));
                assert_eq!(ConnId::from_bits(id.to_bits()), Some(id));
                assert_eq!(ConnId::slot_of_token(id.token()), slot as usize);
                assert_ne!(id.token(), WAKER_TOKEN);
                assert_eq!(id.to_string(), format!("{name}{slot}.{generation}"));
            }
        }
    }
}

#[test]
fn listener_token_differs_from_connection() {
    for index in [0, 1, 1000] {
        let slot = ConnId::slot_of_token(listener_token(index));
        assert_eq!(slot - SLOTS_MAX as usize, index);
    }
}

#[test]
fn udp_token_differs_from_others() {
    for slot in [0, 1, SLOTS_MAX - 1] {
        for serial in [NonZeroU32::MIN, NonZeroU32::MAX] {
            let id = UdpId::new(ShardId(255), slot, serial);
            assert_eq!(id.slot(), slot as usize);
            assert_eq!(UdpId::slot_of_token(id.token()), Some(slot as usize));
        }
    }
    let first = UdpId::new(ShardId(1), 7, NonZeroU32::MIN);
    let second = UdpId::new(ShardId(1), 7, NonZeroU32::MIN.saturating_add(1));
    #[cfg(target_pointer_width = "64")]
    assert_ne!(first.token(), second.token());
    assert_eq!(
        (first.to_string(), second.to_string()),
        ("1/0".into(), "1/1".into())
    );
    let others = [
        ConnId::new(ShardId(0), 5, 1).token(),
        listener_token(5),
        WAKER_TOKEN,
    ];
    assert!(
        others
            .into_iter()
            .all(|it| UdpId::slot_of_token(it).is_none())
    );
}

#[test]
fn optional_id_takes_eight_bytes() {
    assert_eq!(size_of::<Option<ConnId>>(), 8);
}
