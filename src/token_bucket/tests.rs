//! Tests of token buckets.

use super::*;

const MS: Duration = Duration::from_millis(1);

fn rate(per_second: u32, burst: u32) -> Rate {
    Rate { per_second, burst }
}

#[test]
fn bucket_gains_tokens_up_to_its_burst() {
    let begun = Instant::now();
    let mut bucket = TokenBucket::full(rate(10, 3), begun);
    for _ in 0..3 {
        assert!(bucket.try_take_one(begun));
    }
    assert!(!bucket.try_take_one(begun));
    assert!(!bucket.try_take_one(begun + 100 * MS - Duration::from_nanos(1)));
    assert!(bucket.try_take_one(begun + 100 * MS));
    let later = begun + Duration::from_secs(3600);
    let taken = (0..10).filter(|_| bucket.try_take_one(later)).count();
    assert_eq!(taken, 3);
}

#[test]
fn time_that_goes_back_adds_nothing() {
    let begun = Instant::now() + Duration::from_secs(10);
    let mut bucket = TokenBucket::full(rate(10, 1), begun);
    assert!(bucket.try_take_one(begun));
    assert!(!bucket.try_take_one(begun - Duration::from_secs(5)));
    assert!(!bucket.try_take_one(begun + 99 * MS));
    assert!(bucket.try_take_one(begun + 100 * MS));
}

#[test]
fn small_steps_gain_as_much_as_a_large_one() {
    let begun = Instant::now();
    // A token takes 333,333,333 and a third nanoseconds.
    let mut bucket = TokenBucket::full(rate(3, 1000), begun);
    bucket.take(1000);
    for step in 1..=100_000_u32 {
        bucket.refill(begun + Duration::from_nanos(7) * step, Refill::UpToBurst);
    }
    let at = begun + Duration::from_secs(100);
    bucket.refill(at, Refill::UpToBurst);
    assert_eq!(bucket.available(0), 300);
}

#[test]
fn extreme_rates_do_not_overflow() {
    let begun = Instant::now();
    let mut bucket = TokenBucket::full(rate(u32::MAX, u32::MAX), begun);
    bucket.take(u64::MAX);
    bucket.take(u64::MAX);
    assert_eq!(bucket.available(u64::MAX), 0);
    let _ = bucket.ready_at(u64::MAX);
    bucket.reserve(u64::MAX);
    bucket.reserve(u64::MAX);
    bucket.release(u64::MAX);
    let far = begun + Duration::from_secs(u32::MAX.into());
    bucket.refill(far, Refill::BeyondBurst);
    bucket.refill(far + Duration::from_secs(60 * 60), Refill::UpToBurst);
    let mut slow = TokenBucket::full(rate(1, 1), begun);
    slow.take(u64::MAX);
    assert!(slow.ready_at(1) >= begun);
}

#[test]
fn debt_is_paid_before_anything_is_available() {
    let begun = Instant::now();
    let mut bucket = TokenBucket::full(rate(100, 10), begun);
    bucket.take(30);
    assert_eq!(bucket.available(0), 0);
    assert_eq!(bucket.ready_at(1), begun + 210 * MS);
    bucket.refill(begun + 210 * MS, Refill::UpToBurst);
    assert_eq!(bucket.available(1), 1);
}

#[test]
fn reservations_are_there_in_their_order() {
    let begun = Instant::now();
    let mut bucket = TokenBucket::full(rate(10, 1), begun);
    bucket.take(1);
    let times = [0; 3].map(|_| {
        let at = bucket.ready_at(1);
        bucket.reserve(1);
        at
    });
    assert_eq!(
        times,
        [begun + 100 * MS, begun + 200 * MS, begun + 300 * MS]
    );
    for at in times {
        bucket.refill(at, Refill::UpToBurst);
        assert_eq!(bucket.available(0), 0, "a user without a reservation waits");
        assert_eq!(bucket.available(1), 1);
        bucket.take(1);
        bucket.release(1);
    }
    assert_eq!(bucket.reserved, 0);
}

#[test]
fn late_user_keeps_the_tokens_of_its_wait() {
    let begun = Instant::now();
    let mut bucket = TokenBucket::full(rate(10, 1), begun);
    bucket.take(1);
    assert_eq!(bucket.ready_at(1), begun + 100 * MS);
    bucket.refill(begun + 150 * MS, Refill::UpToBurst);
    bucket.take(1);
    assert_eq!(bucket.ready_at(1), begun + 200 * MS);
    bucket.refill(begun + 900 * MS, Refill::UpToBurst);
    assert_eq!(bucket.available(0), 2);
    bucket.release(0);
    bucket.refill(begun + 900 * MS, Refill::UpToBurst);
    assert_eq!(bucket.available(0), 1);
}

#[test]
fn unread_time_adds_tokens_beyond_burst() {
    let begun = Instant::now();
    let mut bucket = TokenBucket::full(rate(10, 5), begun);
    let later = begun + Duration::from_secs(1);
    bucket.refill(later, Refill::BeyondBurst);
    assert_eq!(bucket.available(0), 15);
    bucket.refill(later, Refill::UpToBurst);
    assert_eq!(bucket.available(0), 5);
}

#[test]
fn new_rate_keeps_the_tokens() {
    let begun = Instant::now();
    let mut meter = Meter::new(Some(rate(10, 10)), None, begun);
    meter.take(Amount {
        bytes: 8,
        messages: 1,
    });
    meter.set_rates(Some(rate(10, 100)), Some(rate(1, 7)), begun);
    let expected = Amount {
        bytes: 2,
        messages: 7,
    };
    assert_eq!(meter.available(Amount::default()), expected);
    meter.set_rates(Some(rate(10, 1)), None, begun);
    let available = meter.available(Amount::default());
    assert_eq!((available.bytes, available.messages), (1, u64::MAX));
}
