//! The erasure code of a set: Reed–Solomon over GF(2^16), systematic.
//!
//! The crate's own rule for its two rates is kept, because it has a use beyond speed: one data shard gives copies of itself,
//! and one parity shard is the XOR of all data shards, so that these two cases need no field arithmetic to be understood.

use reed_solomon_simd::{
    Error,
    engine::Naive,
    rate::{DefaultRateDecoder, DefaultRateEncoder, RateDecoder, RateEncoder},
};

use super::ShardCounts;

/// The engine without vector instructions. Its tables take half a megabyte where the others fill 8 MiB when they are first used,
/// and with a few kilobytes to code there is nothing to win by those.
type Engine = Naive;

/// The parity shards of these data shards, all of one even length.
pub(super) fn parity(shards: ShardCounts, data: &[&[u8]]) -> Result<Vec<Vec<u8>>, Error> {
    let (Some(first), 1..) = (data.first(), shards.parity) else { return Ok(Vec::new()) };
    let mut encoder =
        DefaultRateEncoder::new(shards.data.into(), shards.parity.into(), first.len(), Engine::new(), None)?;
    for shard in data {
        encoder.add_original_shard(shard)?;
    }
    Ok(encoder.encode()?.recovery_iter().map(<[u8]>::to_vec).collect())
}

/// Fills the gaps among the data shards. `held` has a place for every shard of the set, at least `shards.data` of them taken,
/// all of one even length.
pub(super) fn restore(shards: ShardCounts, held: &mut [Option<Box<[u8]>>]) -> Result<(), Error> {
    let (data, parity) = held.split_at_mut(usize::from(shards.data).min(held.len()));
    if data.iter().all(Option::is_some) {
        return Ok(());
    }
    for (index, shard) in missing(shards, data, parity)? {
        if let Some(gap) = data.get_mut(index) {
            *gap = Some(shard);
        }
    }
    Ok(())
}

/// Places of shards, some of them taken.
type Places = [Option<Box<[u8]>>];
/// Shards with their indices.
type Found = Vec<(usize, Box<[u8]>)>;

/// The data shards that are not there.
fn decode(shards: ShardCounts, data: &Places, parity: &Places) -> Result<Found, Error> {
    let Some(len) = data.iter().chain(parity).flatten().map(|shard| shard.len()).next() else { return Ok(Vec::new()) };
    let mut decoder = DefaultRateDecoder::new(shards.data.into(), shards.parity.into(), len, Engine::new(), None)?;
    for (index, shard) in taken(data) {
        decoder.add_original_shard(index, shard)?;
    }
    for (index, shard) in taken(parity) {
        decoder.add_recovery_shard(index, shard)?;
    }
    Ok(decoder.decode()?.restored_original_iter().map(|(index, shard)| (index, shard.into())).collect())
}

#[cfg(not(fuzzing))]
use decode as missing;

/// As [`decode`], which takes half a millisecond whatever it decodes: a fuzz target has the same sets again and again.
#[cfg(fuzzing)]
fn missing(shards: ShardCounts, data: &Places, parity: &Places) -> Result<Found, Error> {
    use std::{cell::RefCell, collections::HashMap};

    /// Sets that are remembered, some kilobytes each; then all are forgotten.
    const MOST: usize = 1 << 12;
    type Known = HashMap<(u8, u8, Vec<Option<Box<[u8]>>>), Result<Found, Error>>;
    thread_local! {
        static KNOWN: RefCell<Known> = RefCell::default();
    }
    KNOWN.with_borrow_mut(|known| {
        if known.len() >= MOST {
            known.clear();
        }
        let set = (shards.data, shards.parity, [data, parity].concat());
        known.entry(set).or_insert_with(|| decode(shards, data, parity)).clone()
    })
}

fn taken(shards: &Places) -> impl Iterator<Item = (usize, &[u8])> {
    shards.iter().enumerate().filter_map(|(index, shard)| Some((index, shard.as_deref()?)))
}
