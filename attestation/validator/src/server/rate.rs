//! How much one address, and all together, may ask for.
//!
//! Token buckets, looked at before a handshake and before the body of a request that costs
//! public-key work or a nonce: what is refused here costs a look into a table. An address's
//! own bucket is drawn on first, so a flood from one is stopped before it empties the one of
//! all. Deliveries have a bucket of their own: each leaves a deposit, which it gets back when all of
//! its records are taken, so that honest ones come as often as they like and forged ones do not. The table is bounded: full buckets are forgotten, and when it is full all the same,
//! new addresses share one.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::config::Limits;

/// Addresses that are told apart at the same time.
const TABLE: usize = 16_384;

/// Who asks: an IPv4 address, or the /64 that a subscriber of IPv6 has as his own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Address(Option<u64>);

/// All addresses for which there is no room.
const REST: Address = Address(None);

impl Address {
    pub(super) fn of(ip: IpAddr) -> Self {
        Self(Some(match ip.to_canonical() {
            // The zeros in front are no IPv6 network of the internet (RFC 4291 2.4).
            IpAddr::V4(v4) => v4.to_bits().into(),
            IpAddr::V6(v6) => u64::try_from(v6.to_bits() >> 64).unwrap_or_default(),
        }))
    }
}

/// Tokens that come back with time, in thousandths.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: u64,
    at: Instant,
}

/// How fast and how far a bucket fills.
#[derive(Debug, Clone, Copy)]
struct Rate {
    /// Thousandths of a token per second.
    per_second: u64,
    /// Thousandths of a token.
    most: u64,
}

impl Rate {
    fn full(&self, now: Instant) -> Bucket {
        Bucket { tokens: self.most, at: now }
    }

    fn fill(&self, bucket: &mut Bucket, now: Instant) {
        let ms = u64::try_from(now.saturating_duration_since(bucket.at).as_millis()).unwrap_or(u64::MAX);
        let gained = ms.saturating_mul(self.per_second) / 1000;
        // Less than a thousandth of a token must not be lost by asking often.
        if gained > 0 {
            *bucket = Bucket { tokens: bucket.tokens.saturating_add(gained).min(self.most), at: now };
        }
    }

    fn is_full(&self, bucket: &mut Bucket, now: Instant) -> bool {
        self.fill(bucket, now);
        bucket.tokens >= self.most
    }

    /// Takes more than may be there: what is missing is owed, and nothing comes back until it is paid.
    fn draw(&self, bucket: &mut Bucket, tokens: u32, now: Instant) {
        self.fill(bucket, now);
        let due = 1000 * u64::from(tokens);
        let owed_ms = due.saturating_sub(bucket.tokens).saturating_mul(1000) / self.per_second.max(1);
        bucket.tokens = bucket.tokens.saturating_sub(due);
        bucket.at = bucket.at.checked_add(Duration::from_millis(owed_ms)).unwrap_or(bucket.at);
    }

    fn take(&self, bucket: &mut Bucket, now: Instant) -> bool {
        self.fill(bucket, now);
        let left = bucket.tokens.checked_sub(1000);
        bucket.tokens = left.unwrap_or(bucket.tokens);
        left.is_some()
    }
}

/// What one address has.
#[derive(Debug)]
struct Share {
    bucket: Bucket,
    /// For deliveries of which something is refused.
    deliveries: Bucket,
    connections: usize,
}

#[derive(Debug)]
struct Table {
    shares: HashMap<Address, Share>,
    all: Bucket,
}

/// The shares of all addresses; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Rates {
    address: Rate,
    all: Rate,
    connections: usize,
    room: usize,
    table: Arc<Mutex<Table>>,
}

/// A connection's place in its address's share; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    address: Address,
    rates: Rates,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = self.rates.lock();
        if let Some(share) = table.shares.get_mut(&self.address) {
            share.connections = share.connections.saturating_sub(1);
        }
    }
}

/// A token of an address's bucket for deliveries; given back when dropped unspent.
#[derive(Debug)]
pub(super) struct Deposit {
    address: Address,
    rates: Rates,
    spent: bool,
}

impl Deposit {
    /// Keeps the deposit for work of this many tokens, and draws what is beyond it.
    pub(super) fn spend(self, tokens: u32) {
        self.spend_at(tokens, Instant::now());
    }

    fn spend_at(mut self, tokens: u32, now: Instant) {
        self.spent = true;
        if let Some(share) = self.rates.lock().shares.get_mut(&self.address) {
            self.rates.address.draw(&mut share.deliveries, tokens.saturating_sub(1), now);
        }
    }
}

impl Drop for Deposit {
    fn drop(&mut self) {
        if self.spent {
            return;
        }
        let most = self.rates.address.most;
        if let Some(share) = self.rates.lock().shares.get_mut(&self.address) {
            share.deliveries.tokens = share.deliveries.tokens.saturating_add(1000).min(most);
        }
    }
}

impl Rates {
    pub(super) fn new(limits: &Limits) -> Self {
        let per_minute = u64::from(limits.address_per_minute);
        // A fifth of a minute's worth at once, and never less than one.
        let address =
            Rate { per_second: (per_minute * 1000 / 60).max(1), most: (per_minute * 200).max(1000) };
        let per_second = u64::from(limits.total_per_second) * 1000;
        let all = Rate { per_second, most: per_second.saturating_mul(5) };
        let table = Table { shares: HashMap::new(), all: all.full(Instant::now()) };
        let connections = limits.address_connections;
        Self { address, all, connections, room: TABLE, table: Arc::new(Mutex::new(table)) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this address may ask for something that costs.
    pub(super) fn may(&self, address: Address) -> bool {
        self.may_at(address, Instant::now())
    }

    fn may_at(&self, address: Address, now: Instant) -> bool {
        let mut table = self.lock();
        let own = self.share(&mut table, address, now).1;
        self.address.take(&mut own.bucket, now) && self.all.take(&mut table.all, now)
    }

    /// A deposit for one delivery, before its body is read.
    pub(super) fn deposit(&self, address: Address) -> Option<Deposit> {
        self.deposit_at(address, Instant::now())
    }

    fn deposit_at(&self, address: Address, now: Instant) -> Option<Deposit> {
        let mut table = self.lock();
        let (address, own) = self.share(&mut table, address, now);
        let taken = self.address.take(&mut own.deliveries, now);
        drop(table);
        taken.then(|| Deposit { address, rates: self.clone(), spent: false })
    }

    /// A place for one more connection of this address, before its handshake.
    pub(super) fn connect(&self, address: Address) -> Option<Place> {
        let now = Instant::now();
        let mut table = self.lock();
        let (address, own) = self.share(&mut table, address, now);
        if own.connections >= self.connections || !self.address.take(&mut own.bucket, now) {
            return None;
        }
        own.connections += 1;
        drop(table);
        Some(Place { address, rates: self.clone() })
    }

    /// The share of an address, or of the rest when there is no room for one more.
    fn share<'a>(&self, table: &'a mut Table, address: Address, now: Instant) -> (Address, &'a mut Share) {
        if table.shares.len() >= self.room && !table.shares.contains_key(&address) {
            let rate = self.address;
            table.shares.retain(|_, share| {
                let rested = rate.is_full(&mut share.bucket, now) && rate.is_full(&mut share.deliveries, now);
                share.connections > 0 || !rested
            });
        }
        let full = table.shares.len() >= self.room && !table.shares.contains_key(&address);
        let address = if full { REST } else { address };
        let rested = self.address.full(now);
        let fresh = || Share { bucket: rested, deliveries: rested, connections: 0 };
        (address, table.shares.entry(address).or_insert_with(fresh))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(per_minute: u32, per_second: u32) -> Rates {
        Rates::new(&Limits {
            address_per_minute: per_minute,
            total_per_second: per_second,
            address_connections: 2,
            ..Limits::default()
        })
    }

    fn address(n: u32) -> Address {
        Address::of(IpAddr::V4(n.into()))
    }

    fn granted(rates: &Rates, address: Address, now: Instant, asked: usize) -> usize {
        (0..asked).filter(|_| rates.may_at(address, now)).count()
    }

    #[test]
    fn an_address_gets_its_rate_and_another_its_own() {
        let (rates, now) = (rates(60, 1000), Instant::now());
        assert_eq!(granted(&rates, address(1), now, 1000), 12);
        assert_eq!(granted(&rates, address(2), now, 1000), 12);
        assert_eq!(granted(&rates, address(1), now + Duration::from_secs(3), 1000), 3);
        assert_eq!(granted(&rates, address(1), now + Duration::from_secs(9999), 1000), 12);
    }

    #[test]
    fn asking_often_does_not_stop_the_filling() {
        let (rates, now) = (rates(60, 1000), Instant::now());
        granted(&rates, address(1), now, 1000);
        let later = |ms| now + Duration::from_millis(ms);
        assert_eq!((0..=2000).filter(|ms| rates.may_at(address(1), later(*ms))).count(), 2);
    }

    #[test]
    fn a_flood_of_one_address_leaves_all_others_their_share_of_the_whole() {
        let (rates, now) = (rates(60, 4), Instant::now());
        assert_eq!(granted(&rates, address(1), now, 100_000), 12);
        assert_eq!(granted(&rates, address(2), now, 1), 1, "twenty were there for all");
        assert_eq!((3..100).map(|n| granted(&rates, address(n), now, 1)).sum::<usize>(), 7);
    }

    #[test]
    fn the_table_is_bounded_and_forgets_who_is_rested() {
        let mut rates = rates(60, 1_000_000);
        rates.room = 8;
        let now = Instant::now();
        for n in 0..100 {
            rates.may_at(address(n), now);
        }
        assert!(rates.lock().shares.len() <= 9, "eight and the rest");
        assert!(granted(&rates, address(1000), now, 100) < 12, "the rest share one bucket");
        let rested = now + Duration::from_secs(60);
        assert_eq!(granted(&rates, address(1000), rested, 100), 12);
        assert!(rates.lock().shares.len() < 8);
    }

    #[test]
    fn connections_of_one_address_are_capped_and_come_back() {
        let rates = rates(60_000, 1000);
        let first = rates.connect(address(1)).unwrap();
        let _second = rates.connect(address(1)).unwrap();
        assert!(rates.connect(address(1)).is_none());
        assert!(rates.connect(address(2)).is_some());
        drop(first);
        assert!(rates.connect(address(1)).is_some());
    }

    #[test]
    fn deliveries_that_are_taken_cost_nothing_and_others_what_they_wasted() {
        let (rates, now) = (rates(60, 1000), Instant::now());
        let give = |at| rates.deposit_at(address(1), at);
        for _ in 0..1000 {
            assert!(give(now).is_some(), "taken: the deposit comes back");
        }
        let held: Vec<_> = (0..20).filter_map(|_| give(now)).collect();
        assert_eq!(held.len(), 12, "at the same time");
        drop(held);
        for _ in 0..12 {
            give(now).unwrap().spend_at(1, now);
        }
        assert!(give(now).is_none());
        assert!(rates.deposit_at(address(2), now).is_some() && rates.may_at(address(1), now));
        // One token is back after a second; work of five leaves a debt of four.
        let later = |seconds| now + Duration::from_secs(seconds);
        give(later(1)).unwrap().spend_at(5, later(1));
        assert!(give(later(5)).is_none());
        assert!(give(later(6)).is_some());
    }

    #[test]
    fn a_subscriber_of_ipv6_is_one_address() {
        let of = |text: &str| Address::of(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::2"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
